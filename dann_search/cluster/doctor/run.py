"""Examine this machine, without starting Ray, or all nodes of a cluster."""

import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dann_search.cluster.doctor import judge
from dann_search.cluster.doctor.authentication import check_own_mode
from dann_search.cluster.doctor.needs import Needs, needs_of
from dann_search.cluster.doctor.nodes import ProbedNode
from dann_search.errors import InputError
from dann_search.outputs.cluster import Check, Doctor
from dann_search.search.ray_private import socket_trouble
from dann_search.search.ray_session import OBJECT_STORE_BYTES, quiet_output
from dann_search.storage.remote_folder import is_url


def examine(
    address: str = "local",
    space: Path | None = None,
    storage: str | None = None,
    sets: Sequence[str] = (),
    nodes: int | None = None,
) -> Doctor:
    """Check what a search needs; print the progress on a cluster to standard error.

    Args:
        address: ``local`` for this machine alone, ``auto`` or HOST:PORT for a running cluster.
        space: experiment file of the search.
        storage: where its experiments are to lie; by default where the space says.
        sets: overrides of the space.
        nodes: number of nodes that the cluster should have, the head included.

    Raises:
        InputError: the experiment file is invalid, or the address is a URL.
    """
    if is_url(address):
        raise InputError(
            f"--address {address}: doctor joins the cluster, which takes HOST:PORT from inside "
            "its network; from elsewhere: ray exec cluster.yaml 'dann-search doctor --address auto'"
        )
    if address == "local" and nodes is not None:
        raise InputError(f"--nodes {nodes}: is about a cluster; name it with --address")
    needs = needs_of(space, storage, sets, local=address == "local")
    if address == "local":
        checks, not_checked = _check_machine(needs), needs.not_checked
    else:
        from dann_search.cluster.doctor.cluster import check_cluster_at

        folder = tempfile.TemporaryDirectory(prefix="dann-search-doctor-")
        # Ray's own output goes to its logs; what matters is in the diagnosis.
        with folder as name, quiet_output(Path(name) / "ray.log") as terminal:
            checks, not_checked = check_cluster_at(
                address, needs, nodes, lambda line: print(line, file=terminal)
            )
    return Doctor(ok=all(check.ok for check in checks), checks=checks, not_checked=not_checked)


def _check_machine(needs: Needs) -> list[Check]:
    """Check all that can be known without a cluster."""
    here = ProbedNode("", socket.gethostname(), None, OBJECT_STORE_BYTES)
    checks, _ = judge.check_nodes([here], needs, _ask_here, lambda line: None)
    return [*checks, judge.judge_sockets(here.name, socket_trouble()), check_own_mode(here.name)]


def _ask_here(
    nodes: list[ProbedNode], function: Callable[..., Any], *arguments: Any, limit_s: float
) -> dict[ProbedNode, Any]:
    return {node: function(*arguments) for node in nodes}
