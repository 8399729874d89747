"""A search of a few images, whose every name tries to break out of the page it is put into."""

import shutil
from pathlib import Path

import pytest

from dann_search.storage.layout import ExperimentFolder
from tests.data.images import write_domain
from tests.finished_experiment import search_here

HOSTILE = '</script><img src=x onerror="window.broken=1">'
FORMULA = "$5 & <b>mug</b> {{ 7 * 7 }} %{x}"


@pytest.fixture(scope="session")
def few_images(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """24 images a domain; read only."""
    root = tmp_path_factory.mktemp("few")
    write_domain(root / "<i>shop", {"bike": 12, "mug": 12}, seed=1)
    write_domain(root / "phone & co", {"bike": 12, "mug": 12}, seed=2)
    return search_here(
        root,
        training__epochs=2,
        training__batch_size=4,
        data__source={
            "folder": str(root / "<i>shop"),
            "classes": {"bike": HOSTILE, "mug": FORMULA},
        },
        data__target={
            "folder": str(root / "phone & co"),
            "classes": {"bike": HOSTILE, "mug": FORMULA},
        },
    )


@pytest.fixture
def few(few_images: ExperimentFolder, tmp_path: Path) -> ExperimentFolder:
    """A copy that a test may change."""
    root = tmp_path / "runs" / few_images.root.name
    shutil.copytree(few_images.root, root)
    return ExperimentFolder(root)
