"""A search in mid-course, without its folder."""

from dann_search.config.trial import TrialConfig
from dann_search.outputs.shared import BestTrial
from dann_search.outputs.trials import Status
from dann_search.results.rows import TrialRow
from dann_search.results.status import Snapshot

RECIPE = {f"parameter_number_{number}": number / 7 for number in range(9)}


def row(number: int, state: str, epochs: int, score: float) -> TrialRow:
    """A trial of the search, ended in the order of its number."""
    return TrialRow(
        number=number,
        state=state,
        score=score,
        f1_macro_val=score,
        validators={},
        epochs=epochs,
        best_epoch=1,
        config={},
        params={**RECIPE, "method": "dann", "backbone": "vgg16", "depth": number},
        error=None,
        ended=None if state == "running" else float(number),
    )


def snapshot_with() -> Snapshot:
    """Eleven of twenty trials are over, one is at work."""
    rows = [row(number, "completed", 12, 0.5) for number in range(11)]
    return Snapshot(
        Status(
            experiment="runs/office",
            name="office",
            state="searching",
            error=None,
            searching=True,
            stopped_by=None,
            objective="f1_macro",
            total=20,
            completed=11,
            pruned=0,
            failed=0,
            running=1,
            epochs=12,
            running_trials=[],
            failures=[],
            last_report_s=None,
            best=BestTrial(
                trial=4,
                config=TrialConfig(),
                searched={},
                f1_macro_val=0.5,
                score=0.5,
                confirmed_mean=None,
            ),
            confirmation=None,
            trouble=None,
        ),
        [*rows, row(11, "running", 3, 0.25)],
    )
