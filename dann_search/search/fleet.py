"""The worker groups of a search: one on every node that can carry trials, as nodes come and go."""

import threading
import time
import traceback

import ray

from dann_search.config.trial import TrialConfig
from dann_search.search.causes import first_line
from dann_search.search.dispatcher import Dispatcher
from dann_search.search.executor import Work
from dann_search.search.messages import ActorCalls, Health
from dann_search.search.nodes import NODE_ID, Node, live_nodes, own_node
from dann_search.search.own_entries import entries_to_send
from dann_search.search.placement import Placement
from dann_search.search.ray_private import draining_nodes, most_resources
from dann_search.search.resources import Plan, counted, room_for_trials
from dann_search.search.trial_memory import TrialMemory
from dann_search.search.worker_config import GroupSpec, WorkerConfig
from dann_search.search.worker_group import WorkerGroup

LOOK_S = 1.0
IDLE_S = 60.0
"""A group that has trained nothing this long gives its node back, where others can do the rest."""
MAX_FAILURES = 3
"""Deaths in a row without an epoch between them, of different trials, that set a node aside."""
PATIENCE_S = 120.0
"""How long a cluster all of whose nodes were set aside may take to bring another one."""
LOADS, TRAINS = "loading network and images", "training"
"""What a trial does before its first epoch is reported."""
SAVE_S = 60.0
"""What workers have, beyond their stall timeout, to save and leave."""


class Fleet:
    """Starts a group on each node that fits, ends those whose node goes or has nothing to do.

    Args:
        work: what is to be trained.
        elastic: whether nodes may come: then capacity that is missing is asked for.
    """

    def __init__(self, work: Work, *, elastic: bool):
        resources = work.experiment.resources
        if resources.gpus_per_worker == "auto":  # as any node has, or the autoscaler could bring
            has = ray.cluster_resources().get("GPU") or most_resources().get("GPU")
            resources = resources.model_copy(update={"gpus_per_worker": float(bool(has))})
        self.work, self.resources, self.elastic = work, resources, elastic
        self.wanted, self.tell = work.wanted, work.tell
        self.gpus_per_worker = float(resources.gpus_per_worker)
        self.memory = TrialMemory(resources, work.experiment.data)
        self.placement = Placement(resources, self.memory.largest(work.recipes()))
        here = {NODE_ID: own_node()}  # not on a node that may vanish
        self.dispatcher = ActorCalls(
            Dispatcher.options(label_selector=here).remote(
                resources.max_worker_deaths, resources.trials_per_group
            )
        )
        worker = WorkerConfig.of(work.experiment, work.store, entries_to_send())
        self.spec = GroupSpec(self.dispatcher, worker, work.logs)
        self.error: str | None = None
        self.groups: dict[str, WorkerGroup] = {}
        """By the node's id; those that span nodes, by their name."""
        self._name = f"group-{int(time.time())}"
        """Of the groups; no earlier search of this experiment had it."""
        self._lost: list[WorkerGroup] = []
        """Their nodes are gone; their runs may take a minute to see it."""
        self._avoided: frozenset[str] = frozenset()
        """Nodes that can train nothing."""
        self._unexplained = 0
        """Groups over several nodes that failed, no node being known to be why."""
        self._made = 0
        self._told: set[str] = set()
        self._stage = ""
        self._changed = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="fleet")

    def memory_of(self, config: TrialConfig) -> tuple[int, str]:
        """As in ``SearchFleet``."""
        return self.memory.of(config)

    @property
    def slots(self) -> int:
        """Trials that train at once when all groups are up."""
        return sum(group.plan.slots for group in list(self.groups.values()))

    @property
    def most_slots(self) -> int:
        """Trials that may train at once when every node has come that an autoscaler may bring."""
        coming = self.placement.could_come() if self.elastic else 0
        return max(self.slots, min(self._limit, coming))

    @property
    def _limit(self) -> int:
        """Slots there may be."""
        most = self.resources.max_parallel_trials
        return self.wanted if most == "auto" else min(self.wanted, most)

    @property
    def _missing(self) -> int:
        """Slots that are wanted and not there."""
        return max(0, self._limit - self.slots)

    def start(self) -> None:
        """Begin with the nodes there are; return at once."""
        self.work.stage("starting workers")
        self._look()
        self._thread.start()

    def close(self, *, pause: bool) -> None:
        """Have every group end: its trials at their next epoch, or at their next step."""
        self._closing.set()
        for group in list(self.groups.values()):
            group.closing = True
        if not self.has_lost_dispatcher():
            self.dispatcher.ask("close", pause)

    def withdraw(self, number: int) -> None:
        """End a trial, done or not; do not wait until its slot is free."""
        self.dispatcher.tell("withdraw", number)

    def has_lost_dispatcher(self) -> bool:
        """Return whether the dispatcher is dead, and with it the search; ``error`` then says so."""
        try:
            self.dispatcher.ask("health")
        except ray.exceptions.ActorDiedError as exc:
            self.error = f"the search's dispatcher was lost: {first_line(exc)}"
            return True
        except ray.exceptions.ActorUnavailableError:
            pass  # for a moment, or the next call tells
        return False

    def end(self) -> None:
        """Have all trials saved: after their epoch, or their step where the user has interrupted.

        The dispatcher ends with the last group.
        """
        interrupt, paused = self.work.interrupt, self.work.interrupt.is_set()
        self.close(pause=paused)
        until = time.monotonic() + self.resources.stall_timeout_s + SAVE_S
        while not self.join(1.0) and time.monotonic() < until:
            if not self.has_lost_dispatcher():
                self._end_silent()
            if interrupt.is_set() and not paused:
                paused = True
                self.close(pause=True)
        ray.kill(self.dispatcher.actor)

    def join(self, timeout_s: float) -> bool:
        """Wait for all groups to end, those of lost nodes too; return whether they have.

        Ray ends the process, without a word, if a thread still calls it once it was shut down.
        """
        until = time.monotonic() + timeout_s
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self.placement.ask_for_nothing()
        groups = (*self.groups.values(), *self._lost)
        for group in groups:
            group.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive() and all(group.has_ended for group in groups)

    def _end_silent(self) -> bool:
        """End workers that were not heard of for too long; return whether there were any."""
        silent = self.dispatcher.ask("end_silent", self.resources.stall_timeout_s)
        for actor in silent:
            ray.kill(actor)
        return bool(silent)

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
        health: Health = self.dispatcher.ask("health")
        self.work.troubles(health.troubles)
        nodes, leaving = live_nodes(), draining_nodes()
        self._avoided = health.unfit | self.placement.aside_nodes
        for node in nodes:
            if node.id in leaving and self._tell_once(
                f"node {node.name} will go: its trials continue elsewhere"
            ):
                self.dispatcher.ask("drain", node.id)
        self._remove_ended({node.id for node in nodes})
        if self._end_silent():
            limit = f"{self.resources.stall_timeout_s:g} s (resources.stall_timeout_s)"
            self.tell(f"a worker was not heard of for {limit}: it was ended, its trial continues")
        self._retire(health)
        (self._add_spanning if self.resources.across_nodes else self._add)(nodes, leaving)
        if self.elastic:
            self.placement.ask_for(self._missing, self._avoided)
            for host, (done, of) in health.packing.items():
                line = f"node {host} has packed {done:,} of {of:,} images"
                self._tell_once(line, key=f"packing {host} {10 * done // max(of, 1)}")
        self._say_stage(health)
        self._give_up_if_hopeless()

    def _say_stage(self, health: Health) -> None:
        """Say what the first trial does until it has reported."""
        if self._stage != TRAINS and health.taken:
            self._stage = TRAINS if health.begun else LOADS
            first = min(health.begun or health.taken)
            self.work.stage(f"trial {first}: {self._stage}")

    def _remove_ended(self, alive: set[str]) -> None:
        for key, group in list(self.groups.items()):
            lost = group.node is not None and group.node.id not in alive
            if lost and not group.closing:
                group.closing = True
                self.dispatcher.ask("workers_died", group.run, {})
                self.dispatcher.ask("retire", group.run)
                self._lost.append(group)
                self.tell(f"node {group.node.name} is gone")  # type: ignore[union-attr]
            if not (lost or group.has_ended):
                continue
            del self.groups[key]
            self._changed = time.monotonic()
            if group.error and not lost:
                self._unexplained += group.node is None and not group.lacks_something
                line = self.placement.put_aside(key, group.node, group.error)
                if self.elastic:
                    self._tell_once(line)

    def _retire(self, health: Health) -> None:
        """Have groups end whose workers die whatever they train, and those with nothing to do.

        Of the latter an autoscaler can then take the nodes away.
        """
        for group in list(self.groups.values()):
            run = health.runs.get(group.run)
            if run is None or run.over:
                continue
            rest = self.slots - group.plan.slots
            is_idle = run.idle_s > IDLE_S and not health.pending and 0 < self.wanted <= rest
            if run.failures >= MAX_FAILURES:
                group.error = f"its workers died {run.failures} times in a row, in different trials"
            elif not (is_idle and self.elastic):
                continue
            self.dispatcher.ask("retire", group.run)

    def _add(self, nodes: list[Node], leaving: set[str]) -> None:
        for node in nodes:
            if not self._missing:
                return
            if node.id in self.groups or node.id in leaving or node.id in self.placement.set_aside:
                continue
            plan = self.placement.on_node(node, self._missing)
            if plan is not None:
                self._begin(node, plan)

    def _add_spanning(self, nodes: list[Node], leaving: set[str]) -> None:
        """Begin groups of one slot each, over as many nodes as it takes."""
        avoided = leaving | self._avoided
        room = self.placement.over_nodes(node for node in nodes if node.id not in avoided)
        for _ in range(min(room, self._missing)):
            self._begin(None, self.placement.one_trial)

    def _begin(self, node: Node | None, plan: Plan) -> None:
        self._made += 1
        name = f"{self._name}-{self._made}"
        group = WorkerGroup(self.spec, plan, name=name, node=node, avoided=self._avoided)
        self.groups[name if node is None else node.id] = group
        if node is not None and not plan.memory_per_worker:  # Ray sees to what it has reserved
            self.dispatcher.ask("has_memory", node.id, room_for_trials(node.memory))
        self._changed = time.monotonic()
        group.start()
        if node is not None and self.elastic:
            threads = counted(plan.workers_per_trial * plan.cpus_per_worker, "thread")
            trials = counted(plan.slots, "trial")
            self.tell(f"node {node.name} trains {trials} at once, {threads} each")

    def _tell_once(self, line: str, key: str = "") -> bool:
        """Say a line, unless it (or what has its key) was said before; return whether it was."""
        if (key or line) in self._told:
            return False
        self._told.add(key or line)
        self.tell(line)
        return True

    def _give_up_if_hopeless(self) -> None:
        """End a search that no node can serve."""
        aside = self.placement.set_aside
        if self._unexplained >= MAX_FAILURES:  # the next group would fail, too
            self.error = "; ".join(sorted(set(aside.values())))
        if self.groups:
            return
        reasons, waited = self.placement.reasons, time.monotonic() - self._changed
        if not self.elastic and reasons:
            self.error = reasons
        elif self.elastic and aside and waited > PATIENCE_S:
            self.error = f"no node is left that can train: {reasons}"
        elif waited > PATIENCE_S / 4:
            why = reasons or "there is none"
            self._tell_once(f"waiting for a node that can train ({why})", key="waiting")
