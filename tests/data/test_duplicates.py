"""The same picture under two labels: told with its paths, dropped or refused."""

from pathlib import Path

import pytest

from dann_search.data.store import StoreInfo, pack
from dann_search.errors import InputError
from tests.data.images import write_domain
from tests.data.test_store import SIDE, amazon_to_webcam


def packed(tmp_path: Path, **options: str) -> StoreInfo:
    config = amazon_to_webcam(tmp_path).model_copy(update=options)
    return pack(config, SIDE, tmp_path / "store")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for seed, domain in enumerate(("amazon", "webcam")):
        write_domain(tmp_path / domain, {"bike": 10, "mug": 10}, seed=seed)
    return tmp_path


@pytest.fixture
def conflicting(folders: Path) -> Path:
    """Two pictures of the target's mugs lie among its bikes, too."""
    for number in range(2):
        content = (folders / "webcam" / "mug" / f"00{number}.jpg").read_bytes()
        (folders / "webcam" / "bike" / f"x{number}.jpg").write_bytes(content)
    return folders


def test_a_picture_under_two_labels_is_told_with_its_paths(conflicting: Path) -> None:
    info = packed(conflicting)
    [remark] = info.remarks
    bike, mug = (conflicting / "webcam" / name for name in ("bike/x0.jpg", "mug/000.jpg"))
    assert remark.startswith(
        f"webcam: 2 images carry several labels, such as {bike} (bike) and {mug} (mug); "
    )
    assert "they are kept" in remark and "conflicting_labels: drop" in remark
    assert sum(info.sizes["target"].values()) == 22


def test_all_copies_are_left_out_where_that_is_asked_for(conflicting: Path) -> None:
    info = packed(conflicting, conflicting_labels="drop")
    assert "all 4 copies are left out" in info.remarks[0]
    assert sum(info.sizes["target"].values()) == 18
    assert len(info.skipped) == 2


def test_they_are_refused_where_that_is_asked_for(conflicting: Path) -> None:
    with pytest.raises(InputError, match=r"data\.conflicting_labels: webcam: 2 images carry "
                       r"several labels, .*drop, or keep all of them: keep"):  # fmt: skip
        packed(conflicting, conflicting_labels="error")


def test_copies_under_one_label_are_no_conflict(folders: Path) -> None:
    mug = folders / "webcam" / "mug"
    (mug / "copy.jpg").write_bytes((mug / "000.jpg").read_bytes())
    assert packed(folders, conflicting_labels="error").remarks == []


def test_a_picture_under_another_label_in_each_domain_is_told(folders: Path) -> None:
    content = (folders / "amazon" / "bike" / "000.jpg").read_bytes()
    (folders / "webcam" / "mug" / "000.jpg").write_bytes(content)
    [remark] = packed(folders).remarks
    assert remark.startswith("1 image is in both amazon and webcam, such as ")
    assert remark.endswith("; 1 of them under other labels")
