"""The worker groups of a search: one on every node that can carry trials, as nodes come and go."""

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

import ray

from dann_search.config.experiment import ResourcesConfig
from dann_search.errors import InputError
from dann_search.search.leases import Health
from dann_search.search.nodes import (
    ACCELERATOR,
    Node,
    draining_nodes,
    free_resources,
    live_nodes,
    most_resources,
)
from dann_search.search.probes import Probes
from dann_search.search.resources import Plan, make_plan
from dann_search.search.worker_group import GroupSpec, WorkerGroup, first_line

LOOK_S = 1.0
IDLE_S = 60.0
"""A group that has trained nothing this long gives its node back, where others can do the rest."""
MAX_FAILURES = 3
"""Deaths in a row without an epoch between them, of different trials, that set a node aside."""
MANY = 1_000_000
SPANNING = "spanning-"
"""With a number, the key of a group that is not one node's."""
PATIENCE_S = 120.0
"""How long a cluster all of whose nodes were set aside may take to bring another one."""


class Fleet:
    """Starts a group on each node that fits, ends those whose node goes or has nothing to do.

    Args:
        spec: what all groups share.
        resources: what a trial takes.
        name: of the groups.
        elastic: whether nodes may come: then capacity that is missing is asked for.
        wanted: trials that could run at once if there were room.
        tell: told in a line what happens to nodes.
    """

    def __init__(
        self,
        spec: GroupSpec,
        resources: ResourcesConfig,
        *,
        name: str,
        elastic: bool,
        wanted: int,
        tell: Callable[[str], None],
    ):
        self.spec, self.resources, self.name, self.elastic = spec, resources, name, elastic
        self.wanted, self.tell = wanted, tell
        self.error: str | None = None
        self.groups: dict[str, WorkerGroup] = {}
        """By node; of those that span nodes, by a number."""
        self._lost: list[WorkerGroup] = []
        """Their nodes are gone; their runs may take a minute to see it."""
        self._aside: dict[str, str] = {}
        self._avoided: frozenset[str] = frozenset()
        """Nodes that can train nothing."""
        self._unexplained = 0
        """Groups over several nodes that failed, no node being known to be why."""
        self._unfit: dict[str, str] = {}
        self._probes = Probes("PACK" if resources.across_nodes else "STRICT_PACK")
        self._made = 0
        self._told: set[str] = set()
        self._changed = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="fleet")

    @property
    def gpus_per_worker(self) -> float:
        """As resolved where the user left it to the cluster."""
        wanted = self.resources.gpus_per_worker
        return 0.0 if wanted == "auto" else wanted

    @property
    def slots(self) -> int:
        """Trials that train at once when all groups are up."""
        return sum(group.plan.slots for group in list(self.groups.values()))

    @property
    def most_slots(self) -> int:
        """Trials that may train at once when every node has come that an autoscaler may bring."""
        one = replace(self._one_trial, slots=MANY)
        coming = one.slots_in(most_resources()) if self.elastic else 0
        return max(self.slots, min(self._limit, coming))

    def start(self) -> None:
        """Begin with the nodes there are; returns at once."""
        self._look()
        self._thread.start()

    def close(self, *, pause: bool) -> None:
        """Have every group end: its trials at their next epoch, or at their next step."""
        self._closing.set()
        for group in list(self.groups.values()):
            group.closing = True
        if not self.has_lost_dispatcher():
            ray.get(self.spec.dispatcher.close.remote(pause))

    def withdraw(self, number: int) -> None:
        """End a trial, done or not; nobody waits until its slot is free."""
        self.spec.dispatcher.withdraw.remote(number)

    def has_lost_dispatcher(self) -> bool:
        """Whether the dispatcher is dead, and with it the search; then ``error`` says so."""
        try:
            ray.get(self.spec.dispatcher.health.remote())
        except ray.exceptions.ActorDiedError as exc:
            self.error = f"the search's dispatcher was lost: {first_line(exc)}"
            return True
        except ray.exceptions.ActorUnavailableError:
            pass  # for a moment, or the next call tells
        return False

    def join(self, timeout_s: float) -> bool:
        """Wait for all groups to end, those of lost nodes too; whether they have.

        Ray ends the process, without a word, if a thread still calls it once it was shut down.
        """
        until = time.monotonic() + timeout_s
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._probes.drop()
        for group in [*self.groups.values(), *self._lost]:
            group.join(max(0.0, until - time.monotonic()))
        groups = (*self.groups.values(), *self._lost)
        return not self._thread.is_alive() and all(group.has_ended for group in groups)

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_S):
            try:
                self._look()
            except ray.exceptions.ActorDiedError:
                if self.has_lost_dispatcher():
                    return
            except Exception:  # the cluster's own trouble: seen again in a second
                traceback.print_exc()

    def _look(self) -> None:
        health: Health = ray.get(self.spec.dispatcher.health.remote())
        nodes, leaving = live_nodes(), draining_nodes()
        self._avoided = health.unfit | {key for key in self._aside if not key.startswith(SPANNING)}
        for node in nodes:
            if node.id in leaving and f"drain {node.id}" not in self._told:
                self._told.add(f"drain {node.id}")
                self.tell(f"node {node.name} will go: its trials go on elsewhere")
                ray.get(self.spec.dispatcher.drain.remote(node.id))
        self._remove_ended({node.id for node in nodes})
        self._retire_failing(health)
        self._give_back(health)
        if self.resources.across_nodes:
            self._add_spanning(nodes, leaving)
        else:
            self._add(nodes, leaving)
        self._ask_for_more()
        self._tell_packing(health)
        self._despair(nodes)

    def _remove_ended(self, alive: set[str]) -> None:
        for key, group in list(self.groups.items()):
            lost = group.node is not None and group.node.id not in alive
            if lost and not group.closing:
                group.closing = True
                ray.get(self.spec.dispatcher.workers_died.remote(group.run, {}))
                ray.get(self.spec.dispatcher.retire.remote(group.run))
                self._lost.append(group)
                self.tell(f"node {group.node.name} is gone")  # type: ignore[union-attr]
            if not (lost or group.has_ended):
                continue
            del self.groups[key]
            self._changed = time.monotonic()
            if group.error and not lost:
                self._set_aside(key, group)

    def _set_aside(self, key: str, group: WorkerGroup) -> None:
        if group.node is None:
            self._aside[key] = line = f"trials over several nodes: {group.error}"
            self._unexplained += not group.lacks_something
        else:
            self._aside[key] = f"{group.node.name}: {group.error}"
            line = f"node {group.node.name} is set aside: {group.error}"
        if self.elastic and line not in self._told:
            self._told.add(line)
            self.tell(line)

    def _retire_failing(self, health: Health) -> None:
        """Have groups end whose workers die whatever they train."""
        for group in self.groups.values():
            run = health.runs.get(group.run)
            if run is None or run.over:
                continue
            if run.failures >= MAX_FAILURES:
                group.error = f"its workers died {run.failures} times in a row, in different trials"
                ray.get(self.spec.dispatcher.retire.remote(group.run))

    def _give_back(self, health: Health) -> None:
        """Leave nodes that have nothing to do, so that an autoscaler can take them away."""
        if not self.elastic or health.pending:
            return
        for group in list(self.groups.values()):
            run = health.runs.get(group.run)
            rest = self.slots - group.plan.slots
            if run and not run.over and run.idle_s > IDLE_S and 0 < self.wanted <= rest:
                ray.get(self.spec.dispatcher.retire.remote(group.run))

    def _add(self, nodes: list[Node], leaving: set[str]) -> None:
        for node in nodes:
            missing = self._limit - self.slots
            if missing <= 0:
                return
            if node.id in self.groups or node.id in leaving or node.id in self._aside:
                continue
            plan = self._plan(node)
            if plan is not None:
                self._begin(node.id, node, plan)

    @property
    def _limit(self) -> int:
        """Slots there may be."""
        most = self.resources.max_parallel_trials
        return self.wanted if most == "auto" else min(self.wanted, most)

    def _plan(self, node: Node) -> Plan | None:
        """Slots of what is free on a node, no more than are wanted; None where none fits."""
        kind = self.resources.accelerator_type
        if kind is not None and kind not in node.accelerators:
            self._unfit[node.id] = f"{node.name} has no {kind}"
            return None
        limited = self.resources.model_copy(
            update={"max_parallel_trials": self._limit - self.slots}
        )
        try:
            plan = make_plan(limited, node.cpus, node.gpus, node.memory, node.name)
        except InputError as exc:
            self._unfit[node.id] = str(exc)
            return None
        plan = replace(plan, slots=plan.slots_in(free_resources(node.id)))
        if plan.slots:
            self._unfit.pop(node.id, None)
            return plan
        self._unfit[node.id] = f"{node.name} is busy with other work"
        return None

    def _add_spanning(self, nodes: list[Node], leaving: set[str]) -> None:
        """Groups of one slot each, over as many nodes as it takes."""
        one = replace(self._one_trial, slots=MANY, workers_per_trial=1)
        avoided = leaving | self._avoided
        workers = sum(one.slots_in(free_resources(n.id)) for n in nodes if n.id not in avoided)
        room = workers // self.resources.workers_per_trial
        for _ in range(min(room, self._limit - self.slots)):
            self._begin(f"{SPANNING}{self._made}", None, self._one_trial)

    @property
    def _one_trial(self) -> Plan:
        """A slot on a machine without bounds."""
        one = self.resources.model_copy(update={"max_parallel_trials": 1})
        return make_plan(one, float("inf"), float("inf"))

    def _begin(self, key: str, node: Node | None, plan: Plan) -> None:
        self._made += 1
        name = f"{self.name}-{self._made}"
        group = WorkerGroup(self.spec, plan, name=name, node=node, avoided=self._avoided)
        self.groups[key] = group
        self._changed = time.monotonic()
        group.start()
        if node is not None and self.elastic:
            trials = "1 trial" if plan.slots == 1 else f"{plan.slots} trials"
            self.tell(f"node {node.name} trains {trials} at once")

    def _ask_for_more(self) -> None:
        missing = max(0, self._limit - self.slots) if self.elastic else 0
        worker = dict(self._one_trial.worker_resources)
        if kind := self.resources.accelerator_type:
            worker[f"{ACCELERATOR}{kind}"] = 0.001
        self._probes.ask(missing, worker, self.resources.workers_per_trial, self._avoided)

    def _tell_packing(self, health: Health) -> None:
        for host, (done, of) in health.packing.items():
            tenth = 10 * done // max(of, 1)
            if self.elastic and f"packing {host} {tenth}" not in self._told:
                self._told.add(f"packing {host} {tenth}")
                self.tell(f"node {host} has packed {done:,} of {of:,} images")

    def _despair(self, nodes: list[Node]) -> None:
        """End a search that no node can serve."""
        if self._unexplained >= MAX_FAILURES:  # the next group would fail, too
            self.error = "; ".join(sorted(set(self._aside.values())))
        if self.groups:
            return
        reasons = "; ".join([*self._aside.values(), *self._unfit.values()])
        waited = time.monotonic() - self._changed
        if not self.elastic and reasons:
            self.error = reasons
        elif self.elastic and self._aside and waited > PATIENCE_S:
            self.error = f"no node is left that can train: {reasons}"
        elif waited > PATIENCE_S / 4 and "waiting" not in self._told:
            self._told.add("waiting")
            self.tell(f"waiting for a node that can train ({reasons or 'there is none'})")


def running_fleet_name() -> str:
    """A name that no earlier run of this experiment has."""
    return f"group-{int(time.time())}"


def cluster_has_gpus() -> bool:
    """Whether any node has a GPU, or the autoscaler could bring one that has."""
    return ray.cluster_resources().get("GPU", 0) > 0 or most_resources().get("GPU", 0) > 0
