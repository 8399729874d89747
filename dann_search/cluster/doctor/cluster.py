"""Check all nodes of a cluster, within time limits, and name the nodes that do not answer."""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray

from dann_search.cluster.doctor import judge, probe
from dann_search.cluster.doctor.all_reduce import check_all_reduce
from dann_search.cluster.doctor.authentication import (
    NAME,
    REMEDY,
    check_dashboard,
    check_gcs,
    check_own_token,
)
from dann_search.cluster.doctor.judge import Tell, check_nodes
from dann_search.cluster.doctor.needs import Needs
from dann_search.cluster.doctor.nodes import ProbedNode, Silence, silent, verdict
from dann_search.outputs.cluster import Check
from dann_search.search.authentication import do_as_the_cluster_does
from dann_search.search.interrupts import handlers_kept
from dann_search.search.nodes import NODE_ID
from dann_search.search.ray_private import HEAD, dashboard_url
from dann_search.search.ray_session import ENVIRONMENT

CONNECT_S = 10
CLOCK_S = 15
"""Limit on asking a node for its time, which starts a worker process first."""


def check_cluster_at(
    address: str, needs: Needs, expected: int | None, tell: Tell
) -> tuple[list[Check], list[str]]:
    """Join the cluster as a driver; return the checks of its nodes, and what was not checked."""
    tell(f"joining the cluster at {address}")
    if (refusal := _join(address)) is not None:
        return [refusal], []
    try:
        return _check(needs, expected, tell)
    finally:
        with handlers_kept():
            ray.shutdown()


def _join(address: str) -> Check | None:
    """Join the cluster; return the red check that says why this cannot be done."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_gcs_rpc_server_connect_timeout_s", str(CONNECT_S))
    if (refusal := _knock(address)) is not None:
        return refusal
    try:
        do_as_the_cluster_does(address)
        with handlers_kept():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    # Ray raises errors of many kinds here.
    except Exception as exc:
        return _why(address, exc)
    return None


def _knock(address: str) -> Check | None:
    """Check that the cluster answers and accepts this machine's token: Ray would try for long."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return None
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except OSError as exc:
        why = exc.strerror or str(exc) or type(exc).__name__
        remedy = "run this on the head: ray exec cluster.yaml 'dann-search doctor --address auto'"
        return verdict("cluster", address, "", f"nobody answers: {why}", remedy)
    accepted = check_own_token(address)
    return None if accepted.ok else accepted


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


def _check(needs: Needs, expected: int | None, tell: Tell) -> tuple[list[Check], list[str]]:
    nodes, not_checked = living_nodes(), needs.not_checked
    checks = [check_gcs(ray.get_runtime_context().gcs_address)]
    if url := dashboard_url():
        checks.append(check_dashboard(url))
    if expected is not None:
        checks.append(judge.judge_count([node.name for node in nodes], expected))
    here = probe.look()
    checks.append(judge.judge_versions(f"driver ({socket.gethostname()})", here))
    of_nodes, facts = check_nodes(nodes, needs, ask, tell, here)
    checks += of_nodes
    checks += [_check_clock(node) for node in facts]
    host = ray.util.get_node_ip_address()
    if len(facts) > 1:
        tell("adding up over all nodes")
        checks += check_all_reduce([*facts], host, ask_each)
    else:
        not_checked.append("all-reduce: one node, nothing between nodes")
    gpus = {node: one.torch_gpus for node, one in facts.items() if one.torch_gpus}
    if sum(gpus.values()) > 1:
        tell("adding up over all GPUs")
        checks += check_all_reduce([*gpus], host, ask_each, gpus)
    return checks, not_checked


def _check_clock(node: ProbedNode) -> Check:
    before = time.time()
    then = ask([node], probe.clock, limit_s=CLOCK_S)[node]
    error = (time.time() - before) / 2
    if isinstance(then, Silence):
        return silent("clock", node, then)
    return judge.judge_skew(node.name, then - (before + error), error)


def living_nodes() -> list[ProbedNode]:
    """List the nodes, the head first, then by name, which tells nodes of one host apart."""
    nodes = []
    for one in ray.nodes():
        if one["Alive"]:
            has, head = one["Resources"], " (head)" if HEAD in one["Resources"] else ""
            name = f"{one['NodeManagerHostname']}/{one['NodeID'][:6]}{head}"
            store_bytes = has.get("object_store_memory", 0.0)
            nodes.append(ProbedNode(one["NodeID"], name, has.get("GPU", 0.0), store_bytes))
    return sorted(nodes, key=lambda node: (not node.name.endswith(" (head)"), node.name))


def ask(
    nodes: list[ProbedNode], function: Callable[..., Any], *arguments: Any, limit_s: float
) -> dict[ProbedNode, Any]:
    """Call a function on each node at once, see ``nodes.Ask``."""
    return ask_each({node: (node, arguments) for node in nodes}, function, limit_s=limit_s)


def ask_each(
    calls: Mapping[Any, tuple[ProbedNode, tuple[Any, ...]]],
    function: Callable[..., Any],
    *,
    limit_s: float,
) -> dict[Any, Any]:
    """Call a function with several arguments, each in its own process, several on a node or one.

    Args:
        calls: node and arguments of each call, by its name.
        function: importable on the nodes.
        limit_s: how long to wait for the slowest call.

    Returns:
        The answer to each call, or ``Silence`` if there was none in time, by the call's name.
    """
    task = ray.remote(function)
    asked = {}
    for name, (node, values) in calls.items():
        pinned = task.options(num_cpus=0, max_retries=0, label_selector={NODE_ID: node.id})
        asked[name] = pinned.remote(*values)
    ready, late = ray.wait(list(asked.values()), num_returns=len(asked), timeout=limit_s)
    for reference in late:
        with contextlib.suppress(Exception):
            ray.cancel(reference, force=True)
    late_answer = Silence(f"did not answer within {limit_s:.0f} s")
    return {
        name: _answer(reference) if reference in ready else late_answer
        for name, reference in asked.items()
    }


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference, timeout=10)
    # Ray wraps what a node raises in an error that names it in its last line.
    except Exception as exc:
        lines = [line for line in str(exc).strip().splitlines() if line.strip()]
        return Silence(lines[-1].strip() if lines else type(exc).__name__)
