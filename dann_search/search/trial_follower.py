"""Follows a trial from its submission to its last epoch."""

from typing import Any

from dann_search.search.dispatcher_calls import DispatcherCalls
from dann_search.search.leases import News, Order


class TrialFollower:
    """Submits a trial and waits for its epochs.

    Args:
        config: the study's number of the trial, the recipe, folder and data, and how many epochs an
            earlier follower has seen.
        dispatcher: that hands the trial to a slot.
    """

    def __init__(self, config: dict[str, Any], dispatcher: DispatcherCalls):
        self.dispatcher = dispatcher
        self.number, self.seen = int(config["number"]), int(config["seen"])
        self.epochs = int(config["recipe"]["epochs"])
        order = Order(self.number, dict(config["recipe"]), config["folder"], config["data"])
        dispatcher.ask("submit", order)

    def next_result(self) -> dict[str, Any]:
        """Wait for epochs after those that were seen; the trial's own error is a result, too."""
        news: News = self.dispatcher.ask("news", self.number, self.seen)
        self.seen = len(news.history)
        last = news.history[-1] if news.history else {"f1_macro_val": 0.0}
        return {
            "f1_macro_val": last["f1_macro_val"],
            "epoch": self.seen,
            "history": news.history,
            "error": news.error,
            "cancelled": news.cancelled,
            "startup_s": news.startup_s,
            "nodes": news.nodes,
            "done": news.cancelled or news.error is not None or self.seen >= self.epochs,
        }
