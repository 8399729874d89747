"""A study's storage with its trials in memory, for the one process that writes to it.

Optuna asks the storage anew for whatever it needs, parameter by parameter: most of a proposal's
time was spent there. Here reads never leave memory, and what belongs together is written in one
transaction. A write returns when the storage behind has it.
"""

# ruff: noqa: D102 - what the methods do is told by ``BaseStorage``.

import json
import threading
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from dann_search.study.optuna_private import FrozenStudy, one_transaction, storage_id

STUDY = 0
"""Id of the only study, as ``InMemoryStorage`` counts."""


class RememberedStorage(BaseStorage):
    """One study of another storage. A trial's id is its number.

    Args:
        behind: where the study is kept. Nobody else may write to the study meanwhile.
        name: of the study.
    """

    def __init__(self, behind: BaseStorage, name: str):
        self.behind, self.name = behind, name
        self._study = behind.get_study_id_from_name(name)
        self._lock = threading.RLock()
        self._memory: InMemoryStorage | None = None
        self._ids: list[int] = []
        """Ids behind, by the trial's number; new trials have none until they are written."""
        self._pending: list[tuple[str, int | None, tuple[Any, ...]]] = []
        """Writes by method, trial (None for the study) and further arguments."""
        self._depth = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write what the block writes in one transaction at its end; all of it, or nothing."""
        with self._lock:
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._flush()
            except BaseException:
                self._forget()
                raise
            finally:
                self._depth -= 1

    @property
    def _known(self) -> InMemoryStorage:
        with self._lock:
            if self._memory is None:
                self._memory = self._read()
            return self._memory

    def _read(self) -> InMemoryStorage:
        memory, behind = InMemoryStorage(), self.behind
        memory.create_new_study(behind.get_study_directions(self._study), self.name)
        for key, value in behind.get_study_user_attrs(self._study).items():
            memory.set_study_user_attr(STUDY, key, value)
        for key, value in behind.get_study_system_attrs(self._study).items():
            memory.set_study_system_attr(STUDY, key, value)
        trials = behind.get_all_trials(self._study, deepcopy=False)
        for trial in trials:
            memory.create_new_trial(STUDY, trial)
        self._ids = [storage_id(trial) for trial in trials]
        return memory

    def _forget(self) -> None:
        """Read the study again when it is next asked for: it is not known what was written."""
        self._memory, self._pending = None, []

    def _flush(self) -> None:
        memory, behind = self._known, self.behind
        new = range(len(self._ids), memory.get_n_trials(STUDY))
        if not (new or self._pending):
            return
        with one_transaction(behind):
            for method, number, arguments in self._pending:
                place = self._study if number is None else self._ids[number]
                getattr(behind, method)(place, *arguments)
            made = [behind.create_new_trial(self._study, memory.get_trial(n)) for n in new]
        self._ids += made
        self._pending = []

    def _write(self, method: str, number: int | None, *arguments: Any) -> Any:
        with self.together():
            place = STUDY if number is None else number
            result = getattr(self._known, method)(place, *arguments)
            if number is None or number < len(self._ids):
                self._pending.append((method, number, arguments))
        return result

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Write it with all it has by the end of the block of ``together``."""
        with self.together():
            return self._known.create_new_trial(study_id, template_trial)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        self._write("set_trial_param", trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        done: bool = self._write("set_trial_state_values", trial_id, state, values)
        return done

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._write("set_trial_intermediate_value", trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._write("set_trial_user_attr", trial_id, key, _as_read(value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._write("set_trial_system_attr", trial_id, key, _as_read(value))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._write("set_study_user_attr", None, key, _as_read(value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._write("set_study_system_attr", None, key, _as_read(value))

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._known.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._known.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._known.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._known.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._known.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        return self._known.get_all_studies()

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._known.get_trial(trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return self._known.get_all_trials(study_id, deepcopy, states)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return self._known.get_best_trial(study_id)

    def remove_session(self) -> None:
        self.behind.remove_session()

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        raise NotImplementedError

    def delete_study(self, study_id: int) -> None:
        raise NotImplementedError


def _as_read(value: Any) -> Any:
    """Return what the storage will give for a value after a crash: a tuple becomes a list."""
    return json.loads(json.dumps(value))
