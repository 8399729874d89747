"""Which nodes of a cluster train a search's trials, how many at once, and why not others.

Where an autoscaler could bring more nodes, it is asked for them.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from ray.util import placement_group_table
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from dann_search.config.experiment import ResourcesConfig
from dann_search.errors import InputError
from dann_search.search.nodes import ACCELERATOR, Node, all_but, ask_node, smallest_gpu
from dann_search.search.ray_private import free_resources, most_resources
from dann_search.search.resources import Need, Plan, make_plan

MANY = 1_000_000
MAX_PROBES = 32


class Placement:
    """Plans slots by what a trial takes, and remembers why nodes cannot be used.

    Args:
        resources: what a trial takes.
        need: memory of the largest trial, where it is known.
    """

    def __init__(self, resources: ResourcesConfig, need: Need | None = None):
        self.resources, self.need = resources, need
        self.unfit: dict[str, str] = {}
        """Why a node carries no trial now, by its id."""
        self.set_aside: dict[str, str] = {}
        """Why a node is not tried again, by its id; or by a key, for groups over several nodes."""
        self.aside_nodes: set[str] = set()
        """Ids of the nodes among them."""
        self._gpu_memory: dict[str, float] = {}
        """Bytes of a node's smallest GPU, by its id."""
        self._probes: list[PlacementGroup] = []
        """Those that wait for room, one for each trial that has none.

        They end with the driver. A ``request_resources`` would outlive a driver that is killed, and
        keep its nodes.
        """

    @property
    def one_trial(self) -> Plan:
        """A slot on a machine without bounds."""
        return make_plan(self.resources, float("inf"), float("inf"), most=1)

    def could_come(self) -> int:
        """Return how many slots an autoscaler could bring, all its nodes together."""
        return replace(self.one_trial, slots=MANY).slots_in(most_resources())

    def ask_for(self, trials: int, avoided: Iterable[str]) -> None:
        """Show Ray's autoscaler that so many trials have no room, not on the ``avoided`` nodes."""
        trials = min(trials, MAX_PROBES)
        ready = [p for p in self._probes if placement_group_table(p)["state"] == "CREATED"]
        if ready or trials < len(self._probes):
            # What a probe found is a group's to take: it begins as the node is seen to be free.
            self.ask_for_nothing()
            return
        worker, labels = dict(self.one_trial.worker_resources), all_but(avoided)
        if kind := self.resources.accelerator_type:
            worker[f"{ACCELERATOR}{kind}"] = 0.001
        each = self.resources.workers_per_trial
        for _ in range(trials - len(self._probes)):
            probe = placement_group(
                [worker] * each,
                strategy="PACK" if self.resources.across_nodes else "STRICT_PACK",
                bundle_label_selector=[labels] * each if labels else None,
            )
            self._probes.append(probe)

    def ask_for_nothing(self) -> None:
        """Take back what the autoscaler was asked for."""
        for probe in self._probes:
            remove_placement_group(probe)
        self._probes.clear()

    def on_node(self, node: Node, most: int) -> Plan | None:
        """Plan at most ``most`` slots in what is free on a node; None where none fits."""
        try:
            plan = self._plan(node, most)
        except InputError as exc:
            self.unfit[node.id] = str(exc)
            return None
        self.unfit.pop(node.id, None)
        return plan

    def _plan(self, node: Node, most: int) -> Plan:
        kind = self.resources.accelerator_type
        if kind is not None and kind not in node.accelerators:
            raise InputError(f"{node.name} has no {kind}")
        plan = make_plan(
            *(self.resources, node.cpus, node.gpus, node.memory, node.name, self.need),
            gpu_memory=self._memory_of_gpus(node),
            most=most,
        )
        slots = plan.slots_in(free_resources(node.id))
        if not slots:
            raise InputError(f"{node.name} is busy with other work")
        return replace(plan, slots=slots)

    def _memory_of_gpus(self, node: Node) -> float:
        """Ask a node for it where several trials are to share a GPU."""
        share = self.resources.gpus_per_worker
        if share == "auto" or not 0 < share < 1 or not node.gpus or self.need is None:
            return math.inf
        if node.id not in self._gpu_memory:
            self._gpu_memory[node.id] = ask_node(node.id, smallest_gpu, math.inf)
        return self._gpu_memory[node.id]

    def over_nodes(self, nodes: Iterable[Node]) -> int:
        """Return how many trials find room whose workers may be on several nodes."""
        worker = replace(self.one_trial, slots=MANY, workers_per_trial=1)
        workers = sum(worker.slots_in(free_resources(node.id)) for node in nodes)
        return workers // self.resources.workers_per_trial

    def put_aside(self, key: str, node: Node | None, why: str) -> str:
        """Try a node, or groups over several nodes, no more; return the line that says so."""
        if node is None:
            self.set_aside[key] = line = f"trials over several nodes: {why}"
            return line
        self.set_aside[key] = f"{node.name}: {why}"
        self.aside_nodes.add(node.id)
        return f"node {node.name} is set aside: {why}"

    @property
    def reasons(self) -> str:
        """Why nothing can be trained anywhere."""
        return "; ".join([*self.set_aside.values(), *self.unfit.values()])
