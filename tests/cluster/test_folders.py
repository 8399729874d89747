"""The guide of the README: from one's own image folders to the evaluated best model."""

from pathlib import Path

import pytest
from PIL import Image

import dann_search
from dann_search.config.data import DomainConfig
from dann_search.data.open_domain import open_domain
from dann_search.results.reader import open_experiment

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SPACE = Path(__file__).parents[2] / "search_spaces" / "image_folders.yaml"


def write_folders(root: Path, dataset: str, classes: int, each: int) -> Path:
    """Real JPEGs of an embedded domain, in class folders."""
    domain = open_domain(DomainConfig.model_validate({"dataset": dataset}), root)
    written = [0] * 10
    for index, label in enumerate(domain.labels):
        if label < classes and written[label] < each:
            written[label] += 1
            path = root / domain.class_names[label] / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(domain.decode(index, 28).transpose(1, 2, 0)).save(path, quality=95)
    return root


def test_image_folders_lead_to_an_evaluated_best_model(tmp_path: Path) -> None:
    source = write_folders(tmp_path / "catalogue", "digits", classes=3, each=30)
    target = write_folders(tmp_path / "phone", "digits-m", classes=3, each=30)
    result = dann_search.launch(
        SPACE,
        storage=tmp_path / "runs",
        trials=2,
        sets=[
            f"data.source.folder={source}",
            f"data.target.folder={target}",
            "data.image_size=32",
            "training.epochs=1",
            "training.pretrained=false",
            "space.backbone.choice=[resnet18, dann_cnn]",
        ],
    )
    assert result.outcome.stopped_by == "trials"
    assert result.outcome.counts.failed == 0
    folder = open_experiment(result.outcome.folder.root)
    tested = dann_search.evaluate_target(folder.root)
    assert tested.n == 18  # a fifth of 30 in each of 3 classes
    assert [one.name for one in tested.per_class] == ["0", "1", "2"]
    model = dann_search.load_model(folder.best)
    (prediction,) = model.predict([next(target.rglob("*.jpg"))])
    assert prediction.label in {"0", "1", "2"}
