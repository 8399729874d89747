"""The base class of what observes a search.

Observers are told after the study has stored it, but for ``trial_ending``. Where storage fails in
one of their methods, that is called again.
"""

from collections.abc import Sequence
from typing import Any

from dann_search.config.trial import TrialConfig


class Observer:
    """Base class of observers; each overrides what it needs."""

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """Hear that a trial starts; ``known`` holds scores of epochs that an earlier run stored."""

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Epochs were reported: those after the first ``known`` of ``history`` are new."""

    def trial_ending(self, number: int, state: str, error: str | None) -> None:
        """Hear that the study is about to store a trial as completed, pruned or failed."""

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Hear that a trial ended: it is completed, pruned, failed or interrupted."""

    def stage(self, doing: str) -> None:
        """Hear what is done before the first epoch: Ray or workers start, a network is loaded."""

    def notice(self, line: str) -> None:
        """Hear a message for the user of a cluster: a node joined, left or failed."""

    def close(self) -> None:
        """Hear that the search is over."""
