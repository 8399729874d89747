"""The doctor's visit: this machine, or all nodes of a cluster."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from dann_search.cluster.doctor.machine import check_machine
from dann_search.cluster.doctor.needs import needs_of
from dann_search.cluster.doctor.report import Report
from dann_search.errors import InputError
from dann_search.search.ray_session import quiet_output
from dann_search.storage.remote_folder import is_url


def examine(
    address: str = "local",
    space: Path | None = None,
    storage: str | None = None,
    sets: Sequence[str] = (),
) -> Report:
    """Check what a search needs. What goes on with a cluster is told on standard error.

    Args:
        address: ``local`` for this machine alone, ``auto`` or HOST:PORT for a running cluster.
        space: the search.
        storage: where its experiments are to lie, if not where the space says.
        sets: overrides of the space.

    Raises:
        InputError: the experiment file is none, or the address is of another kind.
    """
    if is_url(address):
        raise InputError(
            f"--address {address}: the doctor joins the cluster, which takes HOST:PORT from inside "
            "its network; from elsewhere: ray exec cluster.yaml 'dann-search doctor --address auto'"
        )
    needs = needs_of(space, storage, sets, local=address == "local")
    if address == "local":
        return check_machine(needs)
    from dann_search.cluster.doctor.cluster import check_cluster_at

    folder = tempfile.TemporaryDirectory(prefix="dann-search-doctor-")
    # Ray's own words are for its logs; what matters is in the report.
    with folder as name, quiet_output(Path(name) / "ray.log") as terminal:
        return check_cluster_at(address, needs, lambda line: print(line, file=terminal))
