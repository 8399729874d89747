"""Check all nodes of a cluster, within time limits, and name the nodes that do not answer."""

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

from dann_search.cluster.doctor import judge, places, probe
from dann_search.cluster.doctor.all_reduce import check_all_reduce
from dann_search.cluster.doctor.authentication import (
    NAME,
    REMEDY,
    check_dashboard,
    check_gcs,
    check_own_token,
)
from dann_search.cluster.doctor.needs import Needs
from dann_search.cluster.doctor.nodes import ProbedNode, Silence, ask, living_nodes
from dann_search.cluster.doctor.places import DataPlace
from dann_search.cluster.doctor.verdict import diagnosis, verdict
from dann_search.outputs.cluster import Check, Doctor
from dann_search.search.authentication import do_as_the_cluster_does
from dann_search.search.interrupts import handlers_kept
from dann_search.search.ray_private import dashboard_url
from dann_search.search.ray_session import ENVIRONMENT

CONNECT_S = 10
LOOK_S, CLOCK_S, STORAGE_S, DATA_S = 90, 15, 60, 120
"""Limits on the slowest node; each starts a worker process first."""

Tell = Callable[[str], None]


def check_cluster_at(address: str, needs: Needs, tell: Tell) -> Doctor:
    """Join the cluster as a driver and check all of its nodes."""
    tell(f"joining the cluster at {address}")
    try:
        with _joined(address):
            return _check(needs, tell)
    except CannotJoin as exc:
        return diagnosis([exc.check])


class CannotJoin(Exception):
    """The cluster could not be joined; has the red check that says why."""

    def __init__(self, check: Check):
        super().__init__(check.found)
        self.check = check


@contextmanager
def _joined(address: str) -> Iterator[None]:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_gcs_rpc_server_connect_timeout_s", str(CONNECT_S))
    _knock(address)
    try:
        do_as_the_cluster_does(address)
        with handlers_kept():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    # Ray raises errors of many kinds here.
    except Exception as exc:
        raise CannotJoin(_why(address, exc)) from None
    try:
        yield
    finally:
        with handlers_kept():
            ray.shutdown()


def _knock(address: str) -> None:
    """Check that the cluster answers and accepts this machine's token: Ray would try for long."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except OSError as exc:
        why = exc.strerror or str(exc) or type(exc).__name__
        raise CannotJoin(
            verdict(
                "cluster", address, "", f"nobody answers: {why}",
                "run this on the head: ray exec cluster.yaml 'dann-search doctor --address auto'",
            )
        ) from None  # fmt: skip
    accepted = check_own_token(address)
    if not accepted.ok:
        raise CannotJoin(accepted)


def _why(address: str, exc: Exception) -> Check:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    said = lines[0] if lines else type(exc).__name__
    if "Version mismatch" in str(exc):
        remedy = "install the cluster's Ray and Python here, or run this on its head"
        return verdict("versions", address, "", " ".join(lines), remedy)
    if "uthenticat" in f"{type(exc).__name__} {exc}":
        remedy = f"copy the cluster's ~/.ray/auth_token here; or {REMEDY}"
        return verdict(NAME, address, "", f"this machine is refused: {said}", remedy)
    remedy = "is it running? ray status; on another machine: ray exec cluster.yaml 'ray status'"
    return verdict("cluster", address, "", said, remedy)


def _check(needs: Needs, tell: Tell) -> Doctor:
    nodes = living_nodes()
    checks = [check_gcs(ray.get_runtime_context().gcs_address)]
    if url := dashboard_url():
        checks.append(check_dashboard(url))
    if needs.nodes is not None:
        checks.append(judge.judge_count([node.name for node in nodes], needs.nodes))
    tell(f"looking at {len(nodes)} nodes")
    looked = ask(nodes, probe.look, (needs.folders,), limit_s=LOOK_S)
    checks += [_silent("node", n, looked[n.id]) for n in nodes if not _answered(looked[n.id])]
    nodes = [node for node in nodes if _answered(looked[node.id])]
    checks += _judge_looks(nodes, looked, needs)
    checks += [_clock(node) for node in nodes]
    not_checked = list(needs.not_checked)
    if needs.storage is not None:
        tell(f"writing to {needs.storage} from every node")
        checks += _storage(nodes, needs.storage)
    if needs.places is not None:
        tell("reaching for the data from every node")
        checks += _data(nodes, needs.places)
    host = ray.util.get_node_ip_address()
    if len(nodes) > 1:
        tell("adding up over all nodes")
        checks += check_all_reduce(nodes, host)
    else:
        not_checked.append("all-reduce: one node, nothing between nodes")
    gpus = {node.id: looked[node.id].torch_gpus or 0 for node in nodes}
    if sum(gpus.values()) > 1:
        tell("adding up over all GPUs")
        checks += check_all_reduce([node for node in nodes if gpus[node.id]], host, gpus)
    return diagnosis(checks, not_checked)


def _answered(answer: Any) -> bool:
    return not isinstance(answer, Silence)


def _silent(name: str, node: ProbedNode, silence: Silence) -> Check:
    remedy = "look at its logs (/tmp/ray/session_latest/logs), or take it out: ray drain-node"
    return verdict(name, node.name, "", silence.why, remedy)


def _judge_looks(nodes: list[ProbedNode], looked: dict[str, Any], needs: Needs) -> list[Check]:
    reference = probe.look()
    facts = {node.name: looked[node.id] for node in nodes}
    return [
        judge.judge_versions(f"driver ({socket.gethostname()})", reference),
        *(judge.judge_versions(name, one, reference) for name, one in facts.items()),
        *judge.judge_cuda(facts),
        *(judge.judge_gpus(node.name, facts[node.name], node.gpus) for node in nodes),
        *(judge.judge_shared_memory(n.name, facts[n.name], n.store_bytes) for n in nodes),
        *(judge.judge_disk(name, one, needs) for name, one in facts.items()),
        *(judge.judge_token_file(name, one) for name, one in facts.items()),
    ]


def _clock(node: ProbedNode) -> Check:
    before = time.time()
    then = ask([node], probe.clock, limit_s=CLOCK_S)[node.id]
    error = (time.time() - before) / 2
    if not _answered(then):
        return _silent("clock", node, then)
    return judge.judge_skew(node.name, then - (before + error), error)


def _storage(nodes: list[ProbedNode], storage: str) -> list[Check]:
    run = uuid.uuid4().hex
    wrote = ask(nodes, places.write, lambda node: (storage, run, node.id), limit_s=STORAGE_S)
    answers = {node: wrote[node.id] for node in nodes if _answered(wrote[node.id])}
    written = {node.id: node.name for node, one in answers.items() if not one.error}
    made = any(one.made for one in answers.values())
    seen = ask(nodes, places.marks, (storage, run), limit_s=STORAGE_S)
    # On every node: if they do not share the storage, each has a folder to remove.
    ask(nodes, places.erase, (storage, run, made), limit_s=STORAGE_S)
    checks = []
    for node in nodes:
        silent = [one for one in (wrote[node.id], seen[node.id]) if not _answered(one)]
        if silent:
            checks.append(_silent("storage", node, silent[0]))
        else:
            error, sees = answers[node].error, seen[node.id]
            checks.append(judge.judge_storage(node.name, storage, error, sees, written))
    return checks


def _data(nodes: list[ProbedNode], wanted: tuple[DataPlace, ...]) -> list[Check]:
    asked = ask(nodes, places.missing, (wanted,), limit_s=DATA_S)
    return [
        judge.judge_data(node.name, wanted, asked[node.id])
        if _answered(asked[node.id])
        else _silent("data", node, asked[node.id])
        for node in nodes
    ]
