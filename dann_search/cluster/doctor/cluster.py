"""All nodes of a cluster, each check with a limit and the names of those that did not answer."""

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
from dann_search.cluster.doctor.nodes import NoAnswer, Node, answers, ask, living_nodes
from dann_search.cluster.doctor.report import Check, Report, verdict
from dann_search.search.authentication import do_as_the_cluster_does
from dann_search.search.interrupts import handlers_kept
from dann_search.search.ray_private import dashboard_url
from dann_search.search.ray_session import ENVIRONMENT
from dann_search.storage.remote_folder import is_url

CONNECT_S = 10
LOOK_S, CLOCK_S, STORAGE_S, DATA_S = 90, 15, 60, 120
"""How long the last node may take; a worker process is started on each first."""

Tell = Callable[[str], None]


def check_cluster_at(address: str, needs: Needs, tell: Tell) -> Report:
    """Join the cluster as a driver and check all of its nodes."""
    tell(f"joining the cluster at {address}")
    try:
        with _joined(address):
            return _check(needs, tell)
    except CannotJoin as exc:
        return Report([exc.check])


class CannotJoin(Exception):
    """The cluster could not be joined: one red line."""

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
    # Ray has an error of its own for each way in which this can go wrong.
    except Exception as exc:
        raise CannotJoin(_why(address, exc)) from None
    try:
        yield
    finally:
        with handlers_kept():
            ray.shutdown()


def _knock(address: str) -> None:
    """Whether anybody listens there and lets this machine in: Ray would try for long."""
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


def _check(needs: Needs, tell: Tell) -> Report:
    nodes = living_nodes()
    report = Report([check_gcs(ray.get_runtime_context().gcs_address)])
    if url := dashboard_url():
        report.checks.append(check_dashboard(url))
    tell(f"looking at {len(nodes)} nodes")
    storage = needs.storage
    folders = (storage,) if storage is not None and not is_url(storage) else ()
    looked = ask(nodes, probe.look, (folders,), limit_s=LOOK_S)
    report.checks += _silent("node", looked, nodes)
    nodes = [node for node, _ in answers(looked, nodes)]
    report.checks += _judge_looks(nodes, looked, needs)
    report.checks += _clocks(nodes)
    report.checks += _storage(nodes, needs, tell, report)
    report.checks += _data(nodes, needs, tell, report)
    report.checks += _collectives(nodes, looked, tell, report)
    return report


def _silent(name: str, asked: dict[str, Any], nodes: list[Node]) -> list[Check]:
    """A red line for each node that gave no answer."""
    remedy = "look at its logs (/tmp/ray/session_latest/logs), or take it out: ray drain-node"
    return [
        verdict(name, node.name, "", asked[node.id].why, remedy)
        for node in nodes
        if isinstance(asked[node.id], NoAnswer)
    ]


def _judge_looks(nodes: list[Node], looked: dict[str, Any], needs: Needs) -> list[Check]:
    reference = probe.look()
    own = judge.judge_versions(f"driver ({socket.gethostname()})", reference)
    facts = {node.name: looked[node.id] for node in nodes}
    checks = [own]
    checks += [judge.judge_versions(name, one, reference) for name, one in facts.items()]
    checks += judge.judge_cuda(facts)
    for node in nodes:
        checks.append(judge.judge_gpus(node.name, looked[node.id], node.gpus))
    for node in nodes:
        checks.append(judge.judge_shared_memory(node.name, looked[node.id], node.store_bytes))
    for node in nodes:
        checks.append(judge.judge_disk(node.name, looked[node.id], needs))
    return checks


def _clocks(nodes: list[Node]) -> list[Check]:
    checks = []
    for node in nodes:
        before = time.time()
        asked = ask([node], probe.clock, limit_s=CLOCK_S)
        error = (time.time() - before) / 2
        checks += _silent("clock", asked, [node])
        for _, then in answers(asked, [node]):
            checks.append(judge.judge_skew(node.name, then - (before + error), error))
    return checks


def _storage(nodes: list[Node], needs: Needs, tell: Tell, report: Report) -> list[Check]:
    storage = needs.storage
    if storage is None:
        report.not_checked.append("storage: name it with --storage DIR|URL or --space SPACE.yaml")
        return []
    tell(f"writing to {storage} from every node")
    run = uuid.uuid4().hex
    wrote = ask(nodes, places.write, lambda node: (storage, run, node.id), limit_s=STORAGE_S)
    written = {node.id: node.name for node, one in answers(wrote, nodes) if not one.error}
    made = any(one.made for _, one in answers(wrote, nodes))
    seen = ask(nodes, places.marks, (storage, run), limit_s=STORAGE_S)
    # Where they do not share it, each has something to take away.
    ask(nodes, places.erase, (storage, run, made), limit_s=STORAGE_S)
    checks = _silent("storage", wrote, nodes)
    for node, one in answers(wrote, nodes):
        if isinstance(seen[node.id], NoAnswer):
            checks += _silent("storage", seen, [node])
        else:
            sees = seen[node.id]
            checks.append(judge.judge_storage(node.name, storage, one.error, sees, written))
    return checks


def _data(nodes: list[Node], needs: Needs, tell: Tell, report: Report) -> list[Check]:
    if needs.places is None:
        report.not_checked.append("data: name the search with --space SPACE.yaml")
        return []
    tell("reaching for the data from every node")
    asked = ask(nodes, places.missing, (needs.places,), limit_s=DATA_S)
    checks = _silent("data", asked, nodes)
    for node, missing in answers(asked, nodes):
        checks.append(judge.judge_data(node.name, needs.places, missing))
    return checks


def _collectives(
    nodes: list[Node], looked: dict[str, Any], tell: Tell, report: Report
) -> list[Check]:
    gpus = {node.id: looked[node.id].torch_gpus or 0 for node in nodes}
    checks: list[Check] = []
    host = ray.util.get_node_ip_address()
    if len(nodes) > 1:
        tell("adding up over all nodes")
        checks += check_all_reduce(nodes, host)
    else:
        report.not_checked.append("all-reduce: one node, nothing between nodes")
    if sum(gpus.values()) > 1:
        tell("adding up over all GPUs")
        checks += check_all_reduce([node for node in nodes if gpus[node.id]], host, gpus)
    return checks
