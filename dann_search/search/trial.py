"""The Tune side of a trial: a light process that waits for its slot's epochs. No torch here."""

from typing import Any

from ray import tune

from dann_search.search.messages import DispatcherCalls, EpochUpdate, Order


class TrialFollower:
    """Submits a trial to the dispatcher and waits for its epochs.

    Args:
        config: the order, and how many of its epochs an earlier follower has seen.
        dispatcher: that hands the trial to a slot.
    """

    def __init__(self, config: dict[str, Any], dispatcher: DispatcherCalls):
        order = Order(**config["order"])
        self.dispatcher, self.number, self.seen = dispatcher, order.number, int(config["seen"])
        self.epochs = int(order.config["epochs"])
        dispatcher.ask("submit", order)

    def next_result(self) -> dict[str, Any]:
        """Wait for epochs after those that were seen; the trial's own error is a result, too."""
        return self.result_of(self.dispatcher.ask("epochs_after", self.number, self.seen))

    def result_of(self, update: EpochUpdate) -> dict[str, Any]:
        """Return what the dispatcher says as a result of Tune's."""
        self.seen = len(update.history)
        done = update.cancelled or update.error is not None or self.seen >= self.epochs
        return {**vars(update), "epoch": self.seen, "done": done}


class LightTrial(tune.Trainable):
    """One trial as Tune sees it; the work is done by a slot of a worker group.

    Nothing is held here: checkpoints are in the trial's folder, results in the study, and the trial
    ends when the driver withdraws it. So this process may die at any time.
    """

    def setup(self, config: dict[str, Any], dispatcher: DispatcherCalls | None = None) -> None:
        """Begin the trial in ``config``."""
        assert dispatcher is not None  # given by tune.with_parameters
        self.dispatcher = dispatcher
        self.follower = TrialFollower(config, dispatcher)

    def step(self) -> dict[str, Any]:
        """Return the next epoch. A trial's error is a result: Tune would repeat it if raised."""
        return self.follower.next_result()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial without a new process."""
        self.follower = TrialFollower(new_config, self.dispatcher)
        return True
