"""Which checkpoints a search keeps: those of its best trials, and of trials that may continue."""

import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from dann_search.config.experiment import SearchConfig
from dann_search.errors import RunError
from dann_search.storage.atomic_file import LEFT
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study_names import CONFIRMS, ERROR, best_first, is_own
from dann_search.tracking.observer import Observer
from dann_search.training.result import is_of_the_recipe

MODEL, TO_GO_ON = "best.safetensors", ("last.safetensors", "previous.safetensors")


def models_to_keep(search: SearchConfig) -> int:
    """Return how many trials keep their model: those that were asked for, and all finalists."""
    return max(search.keep_best, search.confirm.top if search.confirm else 1)


def with_models(trials: Iterable[FrozenTrial], keep: int) -> set[int]:
    """Return the numbers of trials whose models are kept, in the order of the leaderboard.

    The ``keep`` best are, and whatever was trained again with new seeds: their mean may rank it
    first, however many better ones a resumed search finds.
    """
    own = [trial for trial in trials if is_own(trial)]
    models = best_first(own)
    confirmed = {t.user_attrs[CONFIRMS] for t in own if CONFIRMS in t.user_attrs}
    return {trial.number for trial in models[:keep]} | confirmed


def goes_on(trial: FrozenTrial) -> bool:
    """Whether a trial may be trained further: one that failed can be tried again."""
    if trial.state == TrialState.FAIL:
        return not is_of_the_recipe(trial.user_attrs.get(ERROR, ""))
    return not trial.state.is_finished()


def left_files(folder: ExperimentFolder) -> list[Path]:
    """Return what killed processes left half written in the folders of trials on this machine."""
    return sorted(folder.trials.glob(f"*/{LEFT}"))


class Retention(Observer):
    """Deletes checkpoints as trials end, from a thread: storage may be slow.

    What cannot be deleted stays, and ``gc`` takes it. Files that a killed driver's workers left in
    the folder are deleted at once. ``tell`` is called with a line for the user.
    """

    def __init__(
        self,
        study: optuna.Study,
        folder: ExperimentFolder,
        search: SearchConfig,
        tell: Callable[[str], None],
    ):
        self.study, self.folder, self.tell = study, folder, tell
        self.keep = models_to_keep(search)
        for path in left_files(folder):
            path.unlink(missing_ok=True)
        self._kept = with_models(self._trials(), self.keep)
        self._gone: queue.Queue[Path | None] = queue.Queue()
        self._failed = False
        self._thread = threading.Thread(target=self._delete, daemon=True, name="retention")
        self._thread.start()

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Delete what nothing needs now: the trial's state, and the model that fell behind."""
        trials = self._trials()
        ended = next(trial for trial in trials if trial.number == number)
        if goes_on(ended):
            return
        kept = with_models(trials, self.keep)
        for other in sorted((self._kept | {number}) - kept):
            self._gone.put(self.folder.trial(other) / MODEL)
        # Otherwise they alone have the trial's epochs.
        for name in TO_GO_ON if self.folder.trial_record(number).exists() else ():
            self._gone.put(self.folder.trial(number) / name)
        self._kept = kept

    def _delete(self) -> None:
        while (path := self._gone.get()) is not None:
            try:
                self.folder.remove(path)
            except (OSError, RunError) as exc:
                if not self._failed:
                    self.tell(f"checkpoints cannot be deleted, which gc may do later: {exc}")
                self._failed = True

    def close(self) -> None:
        """Wait until all is deleted."""
        self._gone.put(None)
        self._thread.join()
