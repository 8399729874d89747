"""The Tune side of a trial: a light stand-in that waits for its slot's epochs. No torch here."""

from typing import Any

from ray import tune

from dann_search.search.dispatcher_calls import ActorCalls
from dann_search.search.trial_follower import TrialFollower


class LightTrial(tune.Trainable):
    """One trial as Tune sees it; the work is done by a slot of a worker group.

    Nothing is held here: checkpoints are in the trial's folder, results in the study, and the trial
    ends when the driver withdraws it. So this process may die at any time.
    """

    def setup(self, config: dict[str, Any], dispatcher: Any = None) -> None:
        """Begin the trial in ``config``."""
        self.dispatcher = ActorCalls(dispatcher)
        self.follower = TrialFollower(config, self.dispatcher)

    def step(self) -> dict[str, Any]:
        """The next epoch. A trial's error is a result: Tune would repeat it if it were raised."""
        return self.follower.next_result()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial without a new process."""
        self.follower = TrialFollower(new_config, self.dispatcher)
        return True
