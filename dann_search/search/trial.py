"""The Tune side of a trial: a light stand-in that waits for its slot's epochs. No torch here."""

from typing import Any

import ray
from ray import tune

from dann_search.search.leases import News, Order


class LightTrial(tune.Trainable):
    """One trial as Tune sees it; the work is done by a slot of a worker group.

    Its config is the study's number of the trial, the recipe, folder and data, and how many epochs
    an earlier process of the trial has seen. Nothing is held here: checkpoints are in the folder,
    results in the study, and the trial ends when the driver withdraws it. So this process may die
    at any time.
    """

    def setup(self, config: dict[str, Any], dispatcher: Any = None) -> None:
        """Begin the trial in ``config``."""
        self.dispatcher = dispatcher
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        self.number, self.seen = int(config["number"]), int(config["seen"])
        self.epochs = int(config["recipe"]["epochs"])
        order = Order(self.number, dict(config["recipe"]), config["folder"], config["data"])
        ray.get(self.dispatcher.submit.remote(order))

    def step(self) -> dict[str, Any]:
        """The next epoch. A trial's error is a result: Tune would repeat it if it were raised."""
        news: News = ray.get(self.dispatcher.news.remote(self.number, self.seen))
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

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial without a new process."""
        self._begin(new_config)
        return True
