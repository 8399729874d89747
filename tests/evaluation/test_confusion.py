"""The confusion matrix's picture, whatever classes are called and however many there are."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image

from dann_search.evaluation import confusion
from dann_search.evaluation.confusion import (
    Mistake,
    frequent_mistakes,
    picture_style,
    write_confusion,
)
from tests.names import NAMES


@pytest.mark.parametrize("classes", [60, 345, 1000])
def test_the_picture_has_a_bounded_size_however_many_classes_there_are(
    tmp_path: Path, classes: int
) -> None:
    names = [f"class_{number:04}" for number in range(classes)]
    write_confusion(tmp_path / "c.png", np.eye(classes, dtype=int).tolist(), names)
    with Image.open(tmp_path / "c.png") as shown:
        assert 1500 < max(shown.size) <= 2100


def test_every_class_of_many_has_pixels_of_its_own(tmp_path: Path) -> None:
    write_confusion(tmp_path / "c.png", np.eye(345, dtype=int).tolist(), ["x"] * 345)
    with Image.open(tmp_path / "c.png") as shown:
        dark = np.asarray(shown.convert("RGB"))[:, :, 0] < 50
    # Beside the diagonal there are only names and frames: few rows would be without it.
    assert dark.any(1).sum() > 1700


@pytest.mark.filterwarnings("error")
def test_names_that_look_like_markup_are_drawn(tmp_path: Path) -> None:
    count = len(NAMES)
    write_confusion(tmp_path / "c.png", np.eye(count, dtype=int).tolist(), NAMES)
    with Image.open(tmp_path / "c.png") as shown:
        assert min(shown.size) > 800


def test_a_name_takes_one_line(tmp_path: Path) -> None:
    for file, name in (("one.png", "left hand"), ("two.png", "left\n\thand")):
        write_confusion(tmp_path / file, [[1, 0], [0, 1]], [name, "right"])
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert one.tobytes() == two.tobytes()


def test_a_name_is_no_formula_also_where_the_user_draws_with_latex() -> None:
    import matplotlib

    with matplotlib.rc_context({"text.usetex": True}), picture_style():
        assert not matplotlib.rcParams["text.usetex"]
        assert not matplotlib.rcParams["text.parse_math"]


def test_letters_that_the_usual_font_lacks_are_taken_from_one_that_has_them() -> None:
    import matplotlib

    usual, other = (
        confusion._letters_of(font_manager.findfont(name))
        for name in ("DejaVu Sans", "STIXGeneral")
    )
    letter = min(one for one in other - usual if one.isprintable())
    with picture_style([letter]) as remark:
        assert matplotlib.rcParams["font.family"][1:] and not remark
    with picture_style(["plain"]) as remark:
        assert not matplotlib.rcParams["font.family"][1:] and not remark


def test_letters_that_no_font_has_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = font_manager.fontManager.ttflist
    own = [font for font in installed if font.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    remark = write_confusion(tmp_path / "c.png", [[1, 0], [0, 1]], ["cup", "\u676f\u5b50"])
    assert "no font installed here has the letters \u5b50\u676f" in remark


def test_the_most_frequent_mistakes_come_first() -> None:
    found = frequent_mistakes([[5, 3, 0], [0, 8, 0], [9, 0, 1]], ["a", "b", "c"])
    assert found == [Mistake("c", "a", 9, 0.9), Mistake("a", "b", 3, 0.375)]
