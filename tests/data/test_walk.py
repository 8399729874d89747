"""Links, hidden files and other files in folders of images: followed, listed or counted."""

import os
from pathlib import Path

import pytest

from dann_search.data.folder import load_bare_folder, load_folder_domain
from dann_search.data.walk import LeftOut, folders_in, images_below, images_in
from dann_search.errors import InputError
from dann_search.inference.image_files import check_words, image_files
from tests.data.images import noise, write_domain


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A class with a linked folder, a link back to the domain and one that leads nowhere."""
    root = write_domain(tmp_path / "src", {"bar": 2, "cup": 1})
    write_domain(tmp_path / "elsewhere", {"bar": 3, "dog": 2}, seed=1)
    (root / "bar" / "more").symlink_to(tmp_path / "elsewhere" / "bar")
    (root / "dog").symlink_to(tmp_path / "elsewhere" / "dog")
    (root / "bar" / "back").symlink_to("..")
    (root / "bar" / "self").symlink_to(".")
    (root / "whole").symlink_to(root)
    (root / "cup" / "again.jpg").symlink_to("000.jpg")
    return root


def test_linked_folders_and_files_are_read_once_and_loops_are_not(linked: Path) -> None:
    domain = load_folder_domain(linked)
    assert domain.class_names == ("bar", "cup", "dog")
    assert [list(domain.labels).count(label) for label in range(3)] == [5, 2, 2]
    [remark] = domain.remarks
    assert "skipped 3 links to folders that were already read" in remark
    assert str(linked / "bar" / "back") in remark and str(linked / "whole") in remark


def test_every_command_finds_the_same_files(linked: Path) -> None:
    labelled = sorted(load_folder_domain(linked).places)
    assert sorted(load_bare_folder(linked).places) == labelled
    assert sorted(map(str, image_files([linked]))) == labelled


def test_a_link_that_leads_nowhere_is_an_unreadable_image(tmp_path: Path) -> None:
    root = write_domain(tmp_path / "src", {"bar": 1, "cup": 1})
    for name in ("gone.png", "gone"):
        (root / "bar" / name).symlink_to("/nowhere/at-all")
    (root / "bar" / "gone.txt").symlink_to("/nowhere/at-all")
    (root / "bar" / "round.png").symlink_to("round.png")
    domain = load_folder_domain(root)
    assert [Path(place).name for place in domain.places[:4]] == [
        "000.jpg", "gone", "gone.png", "round.png"]  # fmt: skip
    with pytest.raises(InputError, match=r"gone: .* a link that leads nowhere \(to /nowhere"):
        domain.decode(1, 8)
    assert "gone.txt (a link that leads nowhere)" in domain.remarks[0]
    assert list(image_files([str(root / "bar" / "g*.png")])) == [root / "bar" / "gone.png"]
    check_words([root / "bar" / "gone.png"])


def test_a_class_folder_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    root = write_domain(tmp_path / "src", {"bar": 1, "cup": 1})
    (root / "dog").symlink_to("/nowhere/dog")
    with pytest.raises(InputError, match=r"src/dog: a link that leads nowhere .*; mount or mend"):
        load_folder_domain(root)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    root = write_domain(tmp_path / "src", {"bar": 1, "cup": 1})
    (root / "bar" / "@eaDir" / "deep").mkdir(parents=True)
    for name in ("@eaDir/1.jpg", "@eaDir/deep/2.jpg", "._000.jpg", ".hidden.png"):
        noise(1).save(root / "bar" / name)
    (root / "bar" / "@eaDir" / "notes.txt").touch()
    (root / "Thumbs.db").touch()
    os.mkfifo(root / "cup" / "pipe.jpg")
    remarks = load_folder_domain(root).remarks
    assert remarks == (
        f"{root}: skipped 1 file of an unsupported type (1 .db)",
        f"{root}: skipped 4 hidden images (2 in @eaDir, 1 in ._*, 1 in .*)",
        f"{root}: skipped 1 path that cannot be read: {root / 'cup' / 'pipe.jpg'} "
        "(neither file nor folder)",
    )


def test_a_pattern_passes_folders_of_other_tools_over(tmp_path: Path) -> None:
    root = write_domain(tmp_path / "src", {"bar": 1})
    (root / "bar" / "@eaDir").mkdir()
    noise(1).save(root / "bar" / "@eaDir" / "thumbnail.jpg")
    assert list(image_files([f"{root}/**/*.jpg"])) == [root / "bar" / "000.jpg"]
    # Who names such a folder means it.
    assert len(list(image_files([f"{root}/bar/@eaDir/*.jpg"]))) == 1


def test_images_of_kinds_that_are_not_read_are_named(tmp_path: Path) -> None:
    for name in ("bar", "cup"):
        (tmp_path / "src" / name).mkdir(parents=True)
        (tmp_path / "src" / name / "a.heic").touch()
    for load in (load_folder_domain, load_bare_folder, lambda root: check_words([root])):
        with pytest.raises(InputError, match=r"it holds 2 \.heic: convert them to one of these"):
            load(tmp_path / "src")
    noise(1).save(tmp_path / "src" / "bar" / "a.jpg")
    with pytest.raises(InputError, match=r"class folder 'cup'.*; it holds 1 \.heic: convert"):
        load_folder_domain(tmp_path / "src")


def test_jpegs_as_browsers_save_them_are_images(tmp_path: Path) -> None:
    for label, name in enumerate(("bar", "cup")):
        (tmp_path / name).mkdir()
        noise(label).save(tmp_path / name / "a.jfif", "JPEG")
    assert len(load_folder_domain(tmp_path)) == 2


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_domain(tmp_path / "src", {"bar": 1, "cup": 1})
    (root / "bar" / "closed").mkdir()
    listed = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    left_out = LeftOut()
    assert len(list(images_below(root, left_out))) == 2
    assert left_out.remarks(root) == (
        f"{root}: skipped 1 path that cannot be read: {root / 'bar' / 'closed'} "
        "(Permission denied)",
    )
    assert [folder.name for folder in folders_in(root)] == ["bar", "cup"]


def test_a_link_to_nowhere_beside_images_is_listed_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "mounted").symlink_to(tmp_path / "gone")
    (tmp_path / "one.jpg").write_bytes(b"")
    left_out = LeftOut()
    assert images_in(tmp_path, left_out) == [tmp_path / "one.jpg"]
    assert left_out.closed == [f"{tmp_path / 'mounted'} (a link that leads nowhere)"]
