"""What a terminal shows: the live table at any width, and a bar."""

import io
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console

from dann_search.cli import bars, tables, watch
from dann_search.results import lines
from dann_search.results.status import Snapshot
from tests.results.snapshots import snapshot_with


def shown(width: int, snapshot: Snapshot) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width).print(tables.Live(snapshot))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_only_the_recipe_gives_way_in_a_narrow_console(width: int) -> None:
    lines = shown(width, differing())
    assert lines[0].split()[:5] == ["trial", "state", "epoch", "best", "F1"]
    assert lines[1].split()[:4] == ["3", "completed", "12/12", "0.500"]
    assert lines[9].split()[:4] == ["11", "running", "3/12", "0.250"]
    assert all(len(line) <= width for line in lines)


def test_forty_columns_have_no_room_for_recipes() -> None:
    head, *lines = shown(40, snapshot_with())
    assert head.split() == ["trial", "state", "epoch", "best", "F1"]
    assert lines[8].split() == ["11", "running", "3/12", "0.250"]
    assert all(len(line) <= 40 for line in lines)


def test_a_headline_is_broken_between_its_parts_alone() -> None:
    headline = lines.headline(snapshot_with(), "about 3m left")
    assert headline.split(lines.GAP)[0] in shown(40, snapshot_with())
    folded = tables._folded(headline, 40).splitlines()
    assert lines.GAP.join(folded) == headline and len(folded) > 1
    assert all(len(line) <= 40 for line in folded)


def test_what_is_the_same_in_all_trials_is_shown_once() -> None:
    same, _, first, *_ = shown(300, snapshot_with())
    assert same.startswith("the same in all: ") and "backbone=vgg16" in same
    assert first.split() == ["3", "completed", "12/12", "0.500", "depth=3"]


def test_methods_and_backbones_are_known_by_their_values() -> None:
    lines = shown(300, differing())
    assert lines[1].split()[4:7] == ["method_3", "vgg16", "depth=3"]


def differing() -> Snapshot:
    """A search in which no two trials have a parameter in common."""
    snapshot = snapshot_with()
    rows = [
        replace(
            row,
            params={
                "depth": row.number,
                "method": f"method_{row.number}",
                "backbone": "vgg16" if row.number % 2 else "resnet50",
                **{f"parameter_number_{n}": row.number / 7 for n in range(9)},
            },
        )
        for row in snapshot.rows
    ]
    return replace(snapshot, rows=rows)


def test_before_the_first_epoch_a_bar_says_what_is_done() -> None:
    view = watch.LiveView(Console(file=io.StringIO(), force_terminal=True))
    begun = replace(snapshot_with(), rows=[], begun=0.0, stage="starting workers")

    def shown(snapshot: Snapshot) -> str:
        view.show([snapshot])
        text = io.StringIO()
        Console(file=text, width=80).print(view.render())
        return text.getvalue()

    assert re.search(r"starting workers .*━.* 0:00:0\d", shown(begun))
    assert "starting" not in shown(replace(begun, stage=""))
    view.close()


def test_a_bar_says_what_is_done_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(bars, "err", Console(file=out, force_terminal=True, width=80))
    with watch.LiveDisplay().packing() as progress:
        progress(0, 0)
        time.sleep(0.2)  # it is drawn ten times a second
        progress(7, 9)
    shown = out.getvalue()
    assert "reading images" in shown and "packing images" in shown and "7/9" in shown
    assert shown.endswith("\x1b[2K")  # the line is erased


def test_a_bar_may_begin_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "err", Console(file=(out := io.StringIO()), force_terminal=True))
    with bars.late_bar("scoring runs", "computing intervals") as progress:
        assert not out.getvalue()
        progress(3, 40)
        time.sleep(0.2)  # it is drawn ten times a second
        progress(40, 40)
    assert "scoring runs" in out.getvalue() and "3/40" in out.getvalue()
    assert re.search(r"computing intervals .*0:00:0\d", out.getvalue())
    assert "0/40" not in out.getvalue().replace("40/40", "")


def test_nothing_is_drawn_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "err", Console(file=(out := io.StringIO())))
    with bars.bar("starting") as show:
        show("classifying", 1, 2)
    assert not out.getvalue()
