"""A small file a trial, for those who read results: its recipe, its epochs, how it ended."""

import json
from collections.abc import Sequence
from typing import Any

from dann_search.config.trial import TrialConfig
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.layout import ExperimentFolder
from dann_search.tracking.observer import Observer


class TrialFiles(Observer):
    """Writes ``trials/NUMBER/trial.json`` as a trial ends; checkpoints may then go."""

    def __init__(self, folder: ExperimentFolder):
        self.folder = folder
        self.configs: dict[int, TrialConfig] = {}
        self.histories: dict[int, Sequence[dict[str, Any]]] = {}

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """Remember its recipe."""
        self.configs[number] = config

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Remember its epochs."""
        self.histories[number] = history

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Write what there is, unless it is to go on."""
        config, history = self.configs.pop(number), self.histories.pop(number, ())
        if state == "interrupted" or not history:
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
