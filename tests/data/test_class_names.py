"""Names of classes as people, systems and archives write them."""

import os
import unicodedata
from pathlib import Path

import pytest

from dann_search.config.data import DataConfig
from dann_search.data.class_names import class_name
from dann_search.data.folder import load_folder_domain
from dann_search.data.store import pack
from dann_search.errors import InputError, printable
from tests.data.images import noise, write_domain
from tests.data.test_open_domain import pair


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("$0_$10", "$0_$10"),
        ("[red] *x*", "[red] *x*"),
        ("猫", "猫"),
        (unicodedata.normalize("NFD", "café"), "café"),
        ("two\nlines", "two lines"),
        ("tab\tand\x1b[31m", "tab and [31m"),
        (" mug\r\n", "mug"),
        ("turned\u202eback", "turned back"),
        (os.fsdecode(b"caf\xe9"), "caf\ufffd"),
    ],
)
def test_a_name_stays_as_it_is_but_on_one_line_and_composed(written: str, name: str) -> None:
    assert class_name(written) == name
    assert class_name(name) == name


def test_accents_composed_and_decomposed_are_one_class(tmp_path: Path) -> None:
    write_domain(tmp_path / "src", {unicodedata.normalize("NFC", n): 1 for n in ("café", "thé")})
    decomposed = {unicodedata.normalize("NFD", n): 1 for n in ("café", "thé")}
    write_domain(tmp_path / "tgt", decomposed, seed=1)
    both = pair(tmp_path, {"folder": "src"}, {"folder": "tgt"})
    assert both.source.class_names == both.target.class_names == ("café", "thé")
    assert both.remarks == ()
    renamed = {unicodedata.normalize("NFC", "café"): "coffee", "thé": "tea"}
    target = {"folder": "tgt", "classes": renamed}
    both = pair(tmp_path, {"folder": "src", "classes": renamed}, target)
    assert both.target.class_names == ("coffee", "tea")


def test_a_name_that_lost_characters_is_told(tmp_path: Path) -> None:
    write_domain(tmp_path / "src", {"two\nlines": 1, "mug": 1})
    domain = load_folder_domain(tmp_path / "src")
    assert domain.class_names == ("mug", "two lines")
    [remark] = domain.remarks
    assert remark.endswith(r"are read: 'two\nlines' as 'two lines'")


def test_two_folders_of_one_class_by_name_are_refused(tmp_path: Path) -> None:
    write_domain(tmp_path / "src", {"two\nlines": 1, "two lines": 1})
    with pytest.raises(InputError, match=r"'two\\nlines' and 'two lines' are one class by name"):
        load_folder_domain(tmp_path / "src")


def test_names_that_are_no_utf_8_are_packed_and_shown(tmp_path: Path) -> None:
    for seed, domain in enumerate(("src", "tgt")):
        write_domain(tmp_path / domain, {os.fsdecode(b"caf\xe9"): 5, "cup": 5}, seed=seed)
    bad = tmp_path / "src" / "cup" / os.fsdecode(b"br\xe9k.png")
    bad.write_bytes(b"x")
    shared = tmp_path / "tgt" / "cup" / os.fsdecode(b"sch\xf6n.jpg")
    shared.write_bytes((tmp_path / "src" / "cup" / "000.jpg").read_bytes())
    config = {
        "source": {"folder": tmp_path / "src"},
        "target": {"folder": tmp_path / "tgt"},
    }
    with pytest.raises(InputError, match="br\ufffdk\\.png: no kind of image"):
        pack(DataConfig.model_validate(config), 8, tmp_path / "store")
    skipping = DataConfig.model_validate(config | {"unreadable": "skip"})
    info = pack(skipping, 8, tmp_path / "store")
    assert info.class_names == ["caf\ufffd", "cup"]
    said = "\n".join(info.remarks)
    assert "br\ufffdk.png" in said and "sch\ufffdn.jpg" in said
    said.encode()  # to any terminal and file
    assert "br\ufffdk.png" in (tmp_path / "store" / "unreadable.txt").read_text("utf-8")


def test_errors_can_be_printed_whatever_is_in_them() -> None:
    text = f"{os.fsdecode(bytes([0xE9]))}: no such file"
    assert str(InputError(text)) == printable(text) == "\ufffd: no such file"


def test_an_undecodable_folder_without_classes_is_named(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"\xe9")
    root.mkdir()
    noise(1).save(root / "a.jpg")
    with pytest.raises(InputError, match="\ufffd: expected one folder a class"):
        load_folder_domain(root)
