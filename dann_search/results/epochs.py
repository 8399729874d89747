"""Read what was measured in each epoch of a trial."""

import json
from typing import Any

from safetensors import SafetensorError, safe_open

from dann_search.storage.layout import ExperimentFolder

Epoch = dict[str, Any]
"""The fields of ``training.result.EpochResult`` by name."""


def read_epochs(folder: ExperimentFolder, trial: int) -> list[Epoch]:
    """Read every epoch of a trial, in order; none if its files are gone.

    They are read from the file written at its end, else from the header of its last checkpoint.
    """
    record = folder.trial_record(trial)
    folder.fetch(record)
    try:
        history: list[Epoch] = json.loads(record.read_text(encoding="utf-8"))["history"]
        return history
    except (OSError, ValueError, KeyError, TypeError):
        pass
    from dann_search.training.checkpoint import BEST, LAST  # imports torch

    for path in (folder.trial(trial) / LAST, folder.trial(trial) / BEST):
        folder.fetch(path)
        try:
            with safe_open(path, framework="np") as file:
                epochs: list[Epoch] = json.loads((file.metadata() or {})["record"])["history"]
                return epochs
        except (OSError, SafetensorError, KeyError, ValueError):
            continue
    return []
