"""The inputs of users' reports, where their folder is there, and what becomes of each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dann_search.config.load import load_experiment
from dann_search.data.store import StoreInfo, pack
from dann_search.data.target_has_labels import fitted_to_target
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts

CASES = Path(os.environ.get("DANN_SHARED_CASES") or Path(__file__).parents[3] / "shared/cases")
SIDE = 32

pytestmark = pytest.mark.skipif(
    not (CASES / "mk.py").exists(), reason=f"the shared cases are absent: {CASES}"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs, as the script beside the cases makes them."""
    folder = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, str(CASES / "mk.py"), str(folder)], check=True)
    return folder


def packed(case: Path, store: Path, **changes: object) -> StoreInfo:
    content = yaml.safe_load((case / "base.yaml").read_text())
    content["data"] |= changes
    (case / "changed.yaml").write_text(yaml.safe_dump(content))
    experiment, _ = load_experiment(case / "changed.yaml", stage_counts())
    return pack(fitted_to_target(experiment)[0].data, SIDE, store)


@pytest.mark.parametrize(
    ("name", "changes", "classes", "remark"),
    [
        ("dollar-class", {}, ["$0_$10", "$10_$20", "dog"], ""),
        ("split-names", {}, ["bar", "cup", "dog"], "Training as train"),
        ("links", {"unreadable": "skip"}, ["bar", "cup", "dog"], "120 of 336 images could not"),
        ("dark-16-bit", {}, ["bar", "cup", "dog"], "48 images of 16 bits hold values of 8 bits"),
        ("two-labels", {}, ["bar", "cup", "dog"], "tgt: 8 images carry several labels"),
        ("accents", {}, ["café", "eau", "thé"], ""),
        ("float-labels", {"target": {"manifest": "tgt.csv"}}, ["1", "10", "2"], "1.0 are read as"),
    ],
)
def test_each_input_is_read_and_told_of(
    made: Path,
    tmp_path: Path,
    name: str,
    changes: dict[str, object],
    classes: list[str],
    remark: str,
) -> None:
    info = packed(made / name, tmp_path / "store", **changes)
    assert info.class_names == classes
    assert remark in "\n".join(info.remarks) and bool(remark) == bool(info.remarks)


def test_links_that_lead_nowhere_are_listed_before_anything_starts(
    made: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"120 of 336 images cannot be read:\n.*/mnt/not-mounted/"):
        packed(made / "links", tmp_path / "store")


def test_linked_images_are_packed(made: Path, tmp_path: Path) -> None:
    info = packed(made / "links", tmp_path / "store", unreadable="skip")
    assert sum(info.sizes["source"].values()) == 3 * (16 + 40)
