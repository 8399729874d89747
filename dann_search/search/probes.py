"""Show Ray's autoscaler that a search could use more nodes."""

from collections.abc import Iterable

from ray.util import placement_group_table
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from dann_search.search.nodes import all_but

MAX_PROBES = 32


class Probes:
    """Pending placement groups, one for each trial that has no room.

    They end with the driver. A ``request_resources`` would outlive a driver that is killed, and
    keep its nodes.

    Args:
        strategy: how Ray is to place the workers of a trial.
    """

    def __init__(self, strategy: str):
        self.strategy = strategy
        self._waiting: list[PlacementGroup] = []

    def ask(self, trials: int, worker: dict[str, float], each: int, avoided: Iterable[str]) -> None:
        """Ask for room for ``trials`` of ``each`` workers, not on the ``avoided`` nodes."""
        trials = min(trials, MAX_PROBES)
        ready = [p for p in self._waiting if placement_group_table(p)["state"] == "CREATED"]
        if ready or trials < len(self._waiting):
            # What a probe found is a group's to take: it begins as the node is seen to be free.
            self.drop()
            return
        labels = all_but(avoided)
        for _ in range(trials - len(self._waiting)):
            probe = placement_group(
                [worker] * each,
                strategy=self.strategy,
                bundle_label_selector=[labels] * each if labels else None,
            )
            self._waiting.append(probe)

    def drop(self) -> None:
        """Ask for nothing."""
        for probe in self._waiting:
            remove_placement_group(probe)
        self._waiting.clear()
