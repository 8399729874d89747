"""Folders behind URLs, on fsspec's file system in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from dann_search.config.data import DataConfig
from dann_search.data.open_domain import open_pair
from dann_search.data.remote import local_copy
from dann_search.errors import InputError
from tests.data.images import write_domain


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


def upload(system: fsspec.AbstractFileSystem, folder: Path, path: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            system.pipe(f"{path}/{file.relative_to(folder)}", file.read_bytes())


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_folder_is_copied_once_and_anew_where_it_changed(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    photos = write_domain(tmp_path / "photos", {"bike": 2, "mug": 1})
    upload(memory, photos, "/bucket/photos")
    copy = local_copy("memory://bucket/photos/", tmp_path / "cache")
    assert copy.name == "photos"
    assert files_in(copy) == files_in(photos)
    before = (copy / "bike" / "000.jpg").stat().st_mtime_ns
    assert local_copy("memory://bucket/photos", tmp_path / "cache") == copy
    assert (copy / "bike" / "000.jpg").stat().st_mtime_ns == before
    memory.rm("/bucket/photos/mug/000.jpg")
    memory.pipe("/bucket/photos/mug/new.jpg", b"12345")
    again = files_in(local_copy("memory://bucket/photos", tmp_path / "cache"))
    assert again.keys() == {"bike/000.jpg", "bike/001.jpg", "mug/new.jpg"}
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_domains_behind_urls_are_those_of_the_folders(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    for number, name in enumerate(("amazon", "webcam")):
        upload(memory, write_domain(local / name, {"bike": 2, "mug": 1}, number), f"/b/{name}")
    rows = [f"{path.relative_to(local / 'webcam')},{path.parent.name}"
            for path in sorted((local / "webcam").rglob("*.jpg"))]  # fmt: skip
    memory.pipe("/b/webcam/list.csv", "\n".join(["path,label", *rows]).encode())
    remote = DataConfig.model_validate(
        {
            "source": {"folder": "memory://b/amazon"},
            "target": {"manifest": "memory://b/webcam/list.csv"},
        }
    )
    near = DataConfig.model_validate(
        {"source": {"folder": local / "amazon"}, "target": {"folder": local / "webcam"}}
    )
    far_pair = open_pair(remote, tmp_path / "cache")
    near_pair = open_pair(near, tmp_path / "cache")
    assert far_pair.source.name == "amazon" and far_pair.target.name == "list"
    for role in ("source", "target"):
        far, other = far_pair.by_role[role], near_pair.by_role[role]
        assert far.keys == other.keys
        assert far.labels.tolist() == other.labels.tolist()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://nowhere/at-all", "memory://nowhere/at-all: nothing there"),
        ("gopher://host/images", "gopher://host/images: cannot be listed: ValueError: Protocol"),
    ],
)
def test_a_url_without_images_is_refused(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, url: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        local_copy(url, tmp_path)
    assert str(caught.value).startswith(message)


def test_a_copy_that_fails_leaves_nothing_half(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(memory, write_domain(tmp_path / "photos", {"bike": 3}), "/bucket/photos")

    def breaks(path: str, target: str, **options: Any) -> None:
        if path.endswith("002.jpg"):
            raise ConnectionResetError("connection lost")
        Path(target).write_bytes(b"")

    monkeypatch.setattr(memory, "get_file", breaks)
    with pytest.raises(InputError, match="cannot be copied: ConnectionResetError: connection lost"):
        local_copy("memory://bucket/photos", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
