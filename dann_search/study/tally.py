"""What the trials of a search have come to."""

import math
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from dann_search.study.study_names import CONFIRMS, own


@dataclass(frozen=True)
class Counts:
    """Trials of the study by state."""

    completed: int
    pruned: int
    failed: int
    running: int

    @property
    def finished(self) -> int:
        """Trials that will not go on."""
        return self.completed + self.pruned + self.failed


class Tally:
    """Reads the trials of a search; those that confirm a finalist are not among them."""

    def __init__(self, study: optuna.Study):
        self.study = study

    def _trials(self) -> list[FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        return [t for t in own(trials) if CONFIRMS not in t.user_attrs]

    def counts(self) -> Counts:
        """Count trials by state."""
        states = [trial.state for trial in self._trials()]
        return Counts(
            completed=states.count(TrialState.COMPLETE),
            pruned=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            running=states.count(TrialState.RUNNING),
        )

    def ended(self) -> list[float]:
        """Return the values of trials that are over, in the order of their end.

        Minus infinity where one was not completed: it is nothing that others must be better than.
        """
        over = [t for t in self._trials() if t.state.is_finished()]
        over.sort(key=lambda t: (str(t.datetime_complete), t.number))
        return [value_of(trial) for trial in over]

    def best(self) -> tuple[int, float] | None:
        """Return number and score of the best trial: completed if any is, earliest on ties."""
        trials = self._trials()
        for state in (TrialState.COMPLETE, TrialState.PRUNED):
            scores = [
                (max(t.intermediate_values.values()), -t.number)
                for t in trials
                if t.state == state and t.intermediate_values
            ]
            if scores:
                score, number = max(scores)
                return -number, score
        return None


def value_of(trial: FrozenTrial) -> float:
    """Return a trial's value, minus infinity unless it was completed."""
    value = trial.value if trial.state == TrialState.COMPLETE else None
    return -math.inf if value is None else value
