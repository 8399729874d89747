"""What a network sees of an image is the same bytes by every way into it."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from dann_search.config.data import DataConfig, DomainConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.augment import normalize, prepare, to_float
from dann_search.data.decode import decode_image
from dann_search.data.image_pixels import centre_crop
from dann_search.data.open_domain import open_pair
from dann_search.data.splits import split_domain
from dann_search.data.store import pack
from dann_search.data.training_data import as_tensor, open_training_data, stored_tensor
from dann_search.data.views import Seen
from dann_search.errors import RunError
from dann_search.evaluation.evaluation_set import file_batches, labelled_images
from dann_search.inference.batched_logits import logits_of, stored_batches
from dann_search.inference.best import _preprocessing, weights_of
from dann_search.inference.export import safetensors_folder
from dann_search.inference.export.export import FORMATS, export_model
from dann_search.inference.export.programs import ONNX, PROGRAM, READER, import_alone, reader_in
from dann_search.inference.export.verification import write_odd_images
from dann_search.inference.model import DannModel, load_model
from dann_search.inference.model_files import write_model
from dann_search.inference.predict import predict_files
from dann_search.models.backbone import Backbone
from dann_search.models.catalog import CATALOG
from dann_search.training.epoch_steps import input_side
from dann_search.training.loop import train
from dann_search.training.predict import predict_logits
from tests.data.images import noise
from tests.inference.models import make_sensitive, random_model

STORED, SEEN = 45, 28
SPEC, RECIPE = CATALOG["dann_cnn"], TrialConfig(backbone="dann_cnn", pretrained=False)


class Case:
    """A packed pair of domains whose test images are odd, and a model of it."""

    def __init__(self, root: Path, *, cropped: bool):
        self.cropped, self.root, self.store = cropped, root, root / "store"
        for role, splits in (("source", ("train", "val", "test")), ("target", ("train", "val"))):
            for number, split in enumerate(splits):
                for label, name in enumerate(("bike", "desk", "lamp", "mug")):
                    folder = root / role / split / name
                    folder.mkdir(parents=True)
                    noise(len(role) + 10 * number + 100 * label, 60, 50).save(folder / "a.png")
        names = ("bike", "desk", "lamp", "mug")
        for number, file in enumerate(write_odd_images(root)):
            folder = root / "target" / "test" / names[number % 4]
            folder.mkdir(parents=True, exist_ok=True)
            file.rename(folder / file.name)
        domains = {role: DomainConfig(folder=root / role) for role in ("source", "target")}
        sides = {"image_size": STORED, "crop_size": SEEN} if cropped else {}
        config = DataConfig.model_validate({**domains, **sides})
        info = pack(config, STORED, self.store)
        target = open_pair(config, root).target
        rows = split_domain(target, config.splits_of("target"))["test"]
        self.files = [Path(target.places[row]) for row in rows]
        assert len(self.files) == 15  # all but the one that has no image's name
        assert info.side_seen(SPEC.image_size) == SEEN
        model = random_model("dann_cnn", side=SEEN, stored=STORED, bottleneck=0)
        self.record = {**model.record, "preprocessing": _preprocessing(RECIPE, info, {})}
        self.model = DannModel(model.network, self.record)
        make_sensitive(self.model, self.files)
        self.folder = root / "model"
        write_model(self.folder, weights_of(model.network), self.record)

    def expected(self, file: Path | None = None) -> Tensor:
        """The network's input, computed step by step."""
        files = self.files if file is None else [file]
        stored = torch.from_numpy(np.stack([decode_image(one, STORED) for one in files]))
        if self.cropped:
            first = (STORED - SEEN) // 2
            seen = stored[:, :, first : first + SEEN, first : first + SEEN].float() / 255
        else:
            seen = F.interpolate(
                stored.float() / 255, (SEEN, SEEN), mode="bilinear", antialias=True
            )
        return normalize(seen, SPEC.mean, SPEC.std)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of a palette with transparency
        return {
            name: Case(tmp_path_factory.mktemp("odd"), cropped=name == "cropped")
            for name in ("cropped", "scaled")
        }


@pytest.fixture(params=["cropped", "scaled"])
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    return cases[request.param]


@contextmanager
def inputs() -> Iterator[list[Tensor]]:
    """What any network of ours, or of an export, is given."""
    seen: list[Tensor] = []

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(module, Backbone) or hasattr(module, "trunk"):
            seen.append(given[0].clone())

    handle = register_module_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def arrays(files: list[Path]) -> list[Any]:
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


WAYS: dict[str, Callable[[Case], Any]] = {
    "validation": lambda case: predict_logits(
        case.model.network,
        Seen(
            as_tensor(case.store, "target", "test"),
            input_side(RECIPE, open_training_data(case.store)),
            SPEC.normalization,
            None,
            torch.device("cpu"),
        ),
    ),
    "evaluate": lambda case: logits_of(
        case.model, stored_batches(case.store, "target", "test", case.model.image_size)
    ),
    "predict": lambda case: list(predict_files(case.folder, case.files)),
    "load_model": lambda case: load_model(case.folder).predict(case.files),
    "Pillow": lambda case: case.model.predict([Image.open(file) for file in case.files]),
    "stored tensor": lambda case: case.model.predict(stored_tensor(case.store, "target", "test")),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_network_the_same_bytes(case: Case, way: str) -> None:
    with inputs() as seen:
        WAYS[way](case)
    assert torch.equal(torch.cat(seen), case.expected())


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_a_labelled_folder_gives_the_same_bytes(case: Case) -> None:
    folder = labelled_images(case.model.class_names, case.root / "target" / "test")
    with inputs() as seen:
        logits_of(case.model, file_batches(folder, case.model))
    files = [Path(place) for place in folder.places]
    assert torch.equal(torch.cat(seen), torch.cat([case.expected(file) for file in files]))


def test_an_array_and_a_file_without_a_name_give_the_same_bytes(case: Case) -> None:
    nameless = next(case.root.glob("target/test/*/tiny"))
    photos = [nameless, *sorted(case.root.glob("source/*/*/a.png"))]
    expected = torch.cat([case.expected(file) for file in photos])
    for given in (photos, arrays(photos)):
        with inputs() as seen:
            case.model.predict(given)
        assert torch.equal(torch.cat(seen), expected)


def test_training_without_augmentation_sees_them_too(case: Case) -> None:
    stored = stored_tensor(case.store, "target", "test")
    crop_size = SEEN if case.cropped else None
    arguments = (SPEC.mean, SPEC.std, RECIPE, torch.Generator(), None, 0.0, crop_size)
    torch.testing.assert_close(prepare(stored, SEEN, *arguments), case.expected())


def test_a_training_sees_images_of_that_side_and_validates_on_those_bytes(
    case: Case, tmp_path: Path
) -> None:
    config = TrialConfig(
        backbone="dann_cnn", pretrained=False, epochs=1, batch_size=4, batch_norm="separate"
    )
    with inputs() as seen:
        (history,) = train(config, open_training_data(case.store), tmp_path)
    assert {batch.shape[1:] for batch in seen} == {(3, SEEN, SEEN)} and len(history) == 1
    files = sorted((case.root / "target" / "val").glob("*/a.png"))
    assert torch.equal(seen[-1], torch.cat([case.expected(file) for file in files]))
    # Every image of an epoch is at a place of its own; without crops there is one place.
    trained = torch.cat(seen[:-2])
    centres = normalize(torch.stack(list(_centres(case))), SPEC.mean, SPEC.std)
    moved = (trained[:, None] - centres[None]).abs().amax((2, 3, 4)).amin(1) > 1e-4
    assert bool(moved.any()) == case.cropped


def _centres(case: Case) -> Iterator[Tensor]:
    """What training would see without random crops."""
    for role in ("source", "target"):
        stored = stored_tensor(case.store, role, "train")
        crop_size = SEEN if case.cropped else None
        yield from to_float(centre_crop(stored, crop_size), SEEN)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_the_loader_of_an_export_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    safetensors_folder.write(case.model, tmp_path)
    with inputs() as seen:
        import_alone(tmp_path / "model.py").load().predict(case.files)
    assert torch.equal(torch.cat(seen), case.expected())


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("format_", ["torch", "onnx"])
def test_exported_programs_give_the_same_bytes(case: Case, tmp_path: Path, format_: str) -> None:
    seeing = DannModel(nn.Flatten(), case.record)  # its logits are its input
    FORMATS[format_].write(seeing, tmp_path)
    images = reader_in(tmp_path)(case.files)
    if format_ == "torch":
        seen = torch.export.load(tmp_path / PROGRAM).module()(images)[1]
        assert torch.equal(seen.reshape(-1, 3, SEEN, SEEN), case.expected())
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(tmp_path / ONNX)
        seen = torch.from_numpy(session.run(None, {"images": images.numpy()})[1])
        # The pixels are the same; sums and products are rounded by another library.
        expected = case.expected().flatten(1)
        torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0)
    stored = stored_tensor(case.store, "target", "test")
    assert torch.equal(images, centre_crop(stored, SEEN if case.cropped else None))


@pytest.mark.parametrize("format_", ["safetensors", "torch"])  # onnx and hf carry the same files
def test_an_export_that_prepares_files_otherwise_is_refused(
    cases: dict[str, Case], tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cases["scaled"]
    out = export_model(case.folder, format_, out=tmp_path / "whole").folder
    record = json.loads((out / "model.json").read_text())
    assert record["export"]["verification"]["of"].endswith("16 odd files)")
    written = FORMATS[format_].write

    def careless(model: DannModel, folder: Path) -> None:
        written(model, folder)
        carried = folder / (READER if format_ == "torch" else "model.py")
        carried.write_text(carried.read_text().replace("if _is_turned(image):", "if False:"))

    monkeypatch.setattr(FORMATS[format_], "write", careless)
    with pytest.raises(RunError, match=r"differs from its model.* 16 odd files"):
        export_model(case.folder, format_, out=tmp_path / "careless")


def test_a_model_of_the_format_before_sees_what_it_saw(case: Case, tmp_path: Path) -> None:
    record = json.loads(json.dumps(case.record))
    del record["preprocessing"]["crop_size"]
    record["format"] = 3
    write_model(tmp_path, weights_of(case.model.network), record)
    model = load_model(tmp_path)
    assert (model.stored_size, model.crop_size, model.image_size) == (STORED, None, SEEN)
    with inputs() as seen:
        model.predict(case.files[:1])
    if not case.cropped:
        assert torch.equal(seen[0], case.expected(case.files[0]))
    assert seen[0].shape[-1] == SEEN
