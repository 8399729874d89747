"""Examine this machine, without starting Ray, or all nodes of a cluster."""

import socket
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dann_search.cluster.doctor import judge, places, probe
from dann_search.cluster.doctor.authentication import check_own_mode
from dann_search.cluster.doctor.needs import Needs, needs_of
from dann_search.cluster.doctor.verdict import diagnosis
from dann_search.errors import InputError
from dann_search.outputs.cluster import Doctor
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
    needs = replace(needs_of(space, storage, sets, local=address == "local"), nodes=nodes)
    if address == "local":
        return check_machine(needs)
    from dann_search.cluster.doctor.cluster import check_cluster_at

    folder = tempfile.TemporaryDirectory(prefix="dann-search-doctor-")
    # Ray's own output goes to its logs; what matters is in the diagnosis.
    with folder as name, quiet_output(Path(name) / "ray.log") as terminal:
        return check_cluster_at(address, needs, lambda line: print(line, file=terminal))


def check_machine(needs: Needs) -> Doctor:
    """Check all that can be known without a cluster."""
    node, storage = socket.gethostname(), needs.storage
    facts = probe.look(needs.folders)
    checks = [
        judge.judge_versions(node, facts),
        *judge.judge_cuda({node: facts}),
        judge.judge_gpus(node, facts),
        judge.judge_shared_memory(node, facts, OBJECT_STORE_BYTES),
        judge.judge_disk(node, facts, needs),
        judge.judge_token_file(node, facts),
        judge.judge_sockets(node, socket_trouble()),
        check_own_mode(node),
    ]
    if storage is not None:
        run, mark = uuid.uuid4().hex, "here"
        wrote = places.write(storage, run, mark)
        sees = places.marks(storage, run)
        places.erase(storage, run, wrote.made)
        checks.append(judge.judge_storage(node, storage, wrote.error, sees, {mark: node}))
    if needs.places is not None:
        checks.append(judge.judge_data(node, needs.places, places.missing(needs.places)))
    return diagnosis(checks, needs.not_checked)
