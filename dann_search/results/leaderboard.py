"""Every trial with every parameter, best first."""

import csv
import io
import math
from collections.abc import Sequence
from typing import cast

from dann_search.outputs.shared import BestTrial, State
from dann_search.outputs.trials import Confirmed, Leaderboard, LeaderboardTrial
from dann_search.results.reader import read_experiment, read_trials
from dann_search.results.rows import TrialRow, confirmation_of
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.layout import ExperimentFolder

ORDER = ("completed", "pruned", "running", "failed")


def ranked(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Sort trials, best first: completed, stopped early, unfinished, failed; then by score.

    The earlier trial wins a tie. A stopped trial never ranks above a completed one: see
    docs/decisions/0002. Once all finalists are confirmed they rank first, by their mean over the
    new seeds; while some seeds are missing, a finalist could win by luck. Trials that confirm a
    finalist come last.
    """

    def place(row: TrialRow) -> tuple[bool, int, bool, float, int]:
        score = row.confirmed_mean if row.is_confirmed else row.score
        low = -math.inf if score is None else score
        place = ORDER.index(row.state), not row.is_confirmed, -low, row.number
        return row.confirms is not None, *place

    return sorted(rows, key=place)


def finished(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the trials that have a model and will not change, best first."""
    done = ("completed", "pruned")
    return [row for row in ranked(rows) if row.state in done and row.confirms is None]


def leaderboard(folder: ExperimentFolder) -> Leaderboard:
    """Return the trials of an experiment, best first."""
    experiment, rows = read_experiment(folder), ranked(read_trials(folder))
    return Leaderboard(
        objective=experiment.search.objective,
        confirmation=confirmation_of(experiment, rows),
        trials=[_entry(row) for row in rows],
    )


def best_trial(rows: Sequence[TrialRow]) -> BestTrial | None:
    """Return the best trial that is over; None if there is none."""
    for row in finished(rows):
        if row.score is not None:
            return BestTrial(
                trial=row.number,
                config=row.recipe,
                searched=row.params,
                f1_macro_val=row.f1_macro_val,
                score=row.score,
                confirmed_mean=row.confirmed_mean,
            )
    return None


def _entry(row: TrialRow) -> LeaderboardTrial:
    return LeaderboardTrial(
        trial=row.number,
        state=cast(State, row.state),
        f1_macro_val=row.f1_macro_val,
        score=row.score,
        validators=row.validators,
        epochs=row.epochs,
        best_epoch=row.best_epoch,
        config=row.recipe,
        searched=row.params,
        error=row.error,
        origin=row.origin,
        confirms=row.confirms,
        confirmed=Confirmed(
            mean=row.confirmed_mean, sd=row.confirmed_sd, values=list(row.confirmed)
        ),
    )


def _shown(value: float | None) -> str:
    return "" if value is None else repr(value)


def write_csv(folder: ExperimentFolder) -> None:
    """Write leaderboard.csv: one column per searched parameter, blank where it does not apply."""
    names = list(read_experiment(folder).space)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = ranked(read_trials(folder))
    validators = sorted({name for row in rows for name in row.validators})
    head = ["rank", "trial", "state", "f1_macro_val", "epochs", "best_epoch"]
    confirmed = ["confirmed_mean", "confirmed_sd", "confirms"]
    writer.writerow([*head, *names, *validators, *confirmed])
    for rank, row in enumerate(rows, 1):
        values = [row.params.get(name, "") for name in names]
        columns = [_shown(row.validators.get(name)) for name in validators]
        score = _shown(row.f1_macro_val)
        best = "" if row.best_epoch is None else row.best_epoch
        last = map(_shown, (row.confirmed_mean, row.confirmed_sd, row.confirms))
        first = [rank, row.number, row.state, score, row.epochs, best]
        writer.writerow([*first, *values, *columns, *last])
    write_atomically(folder.leaderboard, text.getvalue().encode())
