"""One small file per trial with its recipe, its epochs and how it ended."""

import json
from collections.abc import Sequence
from typing import Any

from dann_search.config.trial import TrialConfig
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.layout import ExperimentFolder
from dann_search.tracking.observer import Observer


class TrialFiles(Observer):
    """Writes ``trials/NUMBER/trial.json`` before the study has a trial's end.

    Once a trial is over, its checkpoints may be deleted: the file must be there by then.
    """

    def __init__(self, folder: ExperimentFolder):
        self.folder = folder
        self.configs: dict[int, TrialConfig] = {}
        self.histories: dict[int, Sequence[dict[str, Any]]] = {}

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """Remember the recipe."""
        self.configs[number] = config

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Remember the epochs."""
        self.histories[number] = history

    def trial_ending(self, number: int, state: str, error: str | None) -> None:
        """Write the file, if there is an epoch to tell of."""
        config, history = self.configs[number], self.histories.get(number, ())
        if not history:
            return
        path = self.folder.trial_record(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "trial": number,
            "state": state,
            "config": config.model_dump(mode="json"),
            "history": list(history),
            "error": error,
        }
        write_atomically(path, json.dumps(content, indent=1).encode())

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Forget the trial."""
        self.configs.pop(number, None)
        self.histories.pop(number, None)
