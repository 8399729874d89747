"""How launch shows a search of this process: from its study, as status shows others'."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from dann_search.api.display import Display, Following
from dann_search.cli.watch import LiveView
from dann_search.results.lines import LinesView, SearchView
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study import StudyRecord
from tests.studies import open_record


@pytest.fixture
def record(tmp_path: Path) -> Iterator[StudyRecord]:
    record = open_record(tmp_path, search__trials=8)
    yield record
    record.close()


def play(record: StudyRecord, folder: Path, view: SearchView) -> Following:
    """Trial 0 is completed, trial 1 fails, trial 2 runs."""
    following = Following(record, ExperimentFolder(folder / "runs" / "small"), view)
    for scores in ([0.2, 0.6, 0.5], [], [0.1]):
        taken = record.next_trial()
        assert taken
        following.trial_started(taken.number, taken.config, [])
        record.report(taken.number, scores)
        following.epochs_done(taken.number, [{} for _ in scores], 0)
        if taken.number == 0:
            record.complete(0)
            following.trial_ended(0, "completed", None)
        elif taken.number == 1:
            record.fail(1, "the loss became nan")
            following.trial_ended(1, "failed", "the loss became nan")
    return following


def test_plain_lines_name_each_trial_its_state_and_its_error(
    record: StudyRecord, tmp_path: Path
) -> None:
    text = io.StringIO()
    following = play(record, tmp_path, LinesView(text))
    following.notice("node b left")
    following.close()
    start, first, recipe, second, error, notice = text.getvalue().splitlines()
    assert re.match(r"0/8 trials done, 0 running   starting Ray   elapsed \d+s", start)
    assert "trial 0 completed after 3 of 3 epochs, best F1 0.600 (1/8 done" in first
    assert "lambda_schedule=" in recipe
    assert "trial 1 failed after 0 of 3 epochs (2/8 done" in second
    assert error.strip() == "the loss became nan"
    assert notice.endswith("] node b left")


def test_each_stage_before_the_first_epoch_has_a_line(record: StudyRecord, tmp_path: Path) -> None:
    text = io.StringIO()
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    following = Following(record, folder, LinesView(text))
    for stage in ("starting Ray", "starting workers", "trial 0: training"):
        following.stage(stage)
    lines = text.getvalue().splitlines()
    assert [line.split("   ")[1] for line in lines] == [
        "starting Ray", "starting workers", "trial 0: training"
    ]  # fmt: skip
    following.trial_ended(0, "failed", "no weights")
    following.stage("too late")
    assert "too late" not in text.getvalue()


def test_the_live_table_shows_running_trials_and_the_headline(
    record: StudyRecord, tmp_path: Path
) -> None:
    text = io.StringIO()
    console = Console(file=text, width=150, force_terminal=True)
    view = LiveView(console)
    following = play(record, tmp_path, view)
    following.due = 0.0
    following.epochs_done(2, [{}], 0)
    console.print(view.render())
    following.close()
    shown = text.getvalue()
    # A busy machine takes more than a second between the report and the table.
    headline = r"2/8 trials done, 1 running   best F1 0\.600 \(trial 0\)   elapsed \d+s"
    assert re.search(headline, shown)
    assert re.search(r"last report \d+s ago", shown) and "1/3" in shown


def test_the_study_is_not_read_for_every_epoch(
    record: StudyRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = play(record, tmp_path, LinesView(io.StringIO()))
    monkeypatch.setattr(record, "study", None)  # any read would fail
    for _ in range(100):
        following.epochs_done(2, [{}], 0)


def test_without_a_notebook_progress_is_plain_lines_below_what_goes_in() -> None:
    text = io.StringIO()
    view = Display().searching(text, "digits → digits-m")
    assert isinstance(view, LinesView) and text.getvalue() == "digits → digits-m\n"


def test_plain_lines_say_what_is_done_before_the_search(
    capsys: pytest.CaptureFixture[str],
) -> None:
    display = Display()
    with display.packing() as progress:
        progress(0, 0)
        progress(1, 5_043)
    with display.stage("estimating"):
        pass
    out, lines = capsys.readouterr()
    assert not out and lines.splitlines() == [
        "reading images", "packing 5,043 images", "estimating"
    ]  # fmt: skip


def test_a_notebooks_table_is_replaced_in_place(
    record: StudyRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dann_search.api.display import NotebookView

    shown: list[str] = []

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            shown.append(content["text/plain"])

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert not shown
        shown.append(content["text/plain"])
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    play(record, tmp_path, NotebookView()).close()
    assert "0/8 trials done" in shown[0]
    same, head, first, *_, last = shown[-1].splitlines()
    assert same.startswith("the same in all: ")
    assert head.split()[:5] == ["trial", "state", "epoch", "best", "F1"]
    assert first.split()[:4] == ["0", "completed", "3/3", "0.600"]
    assert last.startswith("2/8 trials done")
