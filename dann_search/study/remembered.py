"""A study's storage with its trials in memory, for the one process that writes to it.

Optuna asks the storage anew for whatever it needs, parameter by parameter: most of a proposal's
time was spent there. Here reads never leave memory, and what belongs together is written in one
transaction. A write returns when the storage behind has it.
"""

# ruff: noqa: D102 - the methods are documented by ``BaseStorage``.

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from dann_search.study.optuna_private import one_transaction, storage_id

STUDY = 0
"""Id of the only study, as ``InMemoryStorage`` counts."""


def _reads(method: str) -> Any:
    """Return a method of ``BaseStorage`` that asks memory alone."""

    def read(self: "RememberedStorage", *arguments: Any, **options: Any) -> Any:
        return getattr(self._known, method)(*arguments, **options)

    return read


def _writes(method: str) -> Any:
    """Return a method of ``BaseStorage`` that writes to memory and, with its block, behind it."""

    def write(self: "RememberedStorage", place: int, *arguments: Any, **options: Any) -> Any:
        if method.endswith("_attr"):  # as it will be read after a crash: a tuple becomes a list
            arguments, options = json.loads(json.dumps([arguments, options]))
        with self.together():
            result = getattr(self._known, method)(place, *arguments, **options)
            is_study = method.startswith("set_study")
            if is_study or place < len(self._ids):
                number = None if is_study else place
                self._pending.append((method, number, arguments, options))
        return result

    return write


class RememberedStorage(BaseStorage):
    """The study ``name`` of the storage ``behind``. A trial's id is its number.

    Nobody else may write to the study meanwhile.
    """

    def __init__(self, behind: BaseStorage, name: str):
        self.behind, self.name = behind, name
        self._study = behind.get_study_id_from_name(name)
        self._lock = threading.RLock()
        self._memory: InMemoryStorage | None = None
        self._ids: list[int] = []
        """Ids behind, by the trial's number; new trials have none until they are written."""
        self._pending: list[tuple[str, int | None, Sequence[Any], dict[str, Any]]] = []
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
        with one_transaction(behind) as quick:
            for method, number, arguments, options in self._pending:
                place = self._study if number is None else self._ids[number]
                (quick.get(method) or getattr(behind, method))(place, *arguments, **options)
            made = [behind.create_new_trial(self._study, memory.get_trial(n)) for n in new]
        self._ids += made
        self._pending = []

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Write it with all it has by the end of the block of ``together``."""
        with self.together():
            return self._known.create_new_trial(study_id, template_trial)

    set_trial_param = _writes("set_trial_param")
    set_trial_state_values = _writes("set_trial_state_values")
    set_trial_intermediate_value = _writes("set_trial_intermediate_value")
    set_trial_user_attr = _writes("set_trial_user_attr")
    set_trial_system_attr = _writes("set_trial_system_attr")
    set_study_user_attr = _writes("set_study_user_attr")
    set_study_system_attr = _writes("set_study_system_attr")

    get_study_id_from_name = _reads("get_study_id_from_name")
    get_study_name_from_id = _reads("get_study_name_from_id")
    get_study_directions = _reads("get_study_directions")
    get_study_user_attrs = _reads("get_study_user_attrs")
    get_study_system_attrs = _reads("get_study_system_attrs")
    get_all_studies = _reads("get_all_studies")
    get_trial = _reads("get_trial")
    get_all_trials = _reads("get_all_trials")
    get_best_trial = _reads("get_best_trial")

    def remove_session(self) -> None:
        self.behind.remove_session()

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        raise NotImplementedError

    def delete_study(self, study_id: int) -> None:
        raise NotImplementedError
