"""What watches a search: console, TensorBoard. It is told after the study has stored a thing."""

from collections.abc import Sequence
from typing import Any

from dann_search.config.trial import TrialConfig


class Observer:
    """Base of watchers; each overrides what it wants to know."""

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """A trial was handed out; ``known`` are the scores of epochs an earlier run stored."""

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Epochs after the first ``known`` of ``history`` are new."""

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """The trial is completed, pruned, failed or interrupted."""

    def notice(self, line: str) -> None:
        """Something that a user of a cluster wants to know: a node came, went or failed."""

    def close(self) -> None:
        """The search is over."""
