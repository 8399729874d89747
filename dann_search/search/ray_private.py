"""All that is used of Ray without being its public interface.

Checked with Ray 2.60. Each function says what there is no public call for; tests/search/
test_ray_private.py calls them, so that a new version that lacks one is noticed.
"""

import math
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

HEAD = "node:__internal_head__"
"""Resource of the head node: what asks for it runs there. No label of the head is public."""
LIMIT_S = 5
TIMED_OUT = "timed out during startup"
"""What a bare ``Exception`` of ``ray.init`` says of a raylet that did not come up."""
ANSWERED, REFUSED = "answered", "refused"


SESSION = "ray/session_2026-01-31_23-59-59_999999_9999999/sockets/plasma_store"
"""The longest path of a socket that Ray makes in its folder."""


def socket_trouble() -> str:
    """Say what is wrong with the folder of Ray's sockets; empty where nothing is.

    Ray makes them in ``$RAY_TMPDIR``, else ``$TMPDIR``, and ends with a raw error where the path is
    longer than the system takes. Batch systems set long ones.
    """
    variable = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ or sys.platform != "linux" else "TMPDIR"
    folder = os.environ.get(variable, "/tmp")
    longest = (104 if sys.platform == "darwin" else 108) - 1  # of sun_path, without its zero byte
    room = longest - len(SESSION) - 1
    if (length := len(os.fsencode(folder))) <= room:
        return ""
    return (
        f"${variable} is too long for the sockets of Ray: {folder} has {length} bytes, at most "
        f"{room} are possible; set RAY_TMPDIR to a shorter folder of this machine: "
        "export RAY_TMPDIR=/tmp"
    )


def end_failed_start(exc: BaseException) -> None:
    """End the processes of a node whose start raised ``exc``; ``ray.shutdown`` knows none of them.

    They would take the next start's CPUs until this process ends.
    """
    from ray._private.node import Node

    for frame, _ in traceback.walk_tb(exc.__traceback__):
        node = frame.f_locals.get("self")
        if isinstance(node, Node):
            node.kill_all_processes(check_alive=False, allow_graceful=False)


@contextmanager
def without_monitors() -> Iterator[None]:
    """Have Ray start without its autoscaler, its API server and what brings logs to the driver.

    None has anything to do in a cluster of this machine alone; ``ray.init`` has no option.
    """
    from ray._private import parameter, services

    usual, server = parameter.RayParams, services.start_api_server
    parameter.RayParams = partial(usual, no_monitor=True, include_log_monitor=False)
    services.start_api_server = lambda *_, **__: (None, None)  # its address and process
    try:
        yield
    finally:
        parameter.RayParams, services.start_api_server = usual, server


def draining_nodes() -> set[str]:
    """Return ids of nodes that were told to go: preempted, or idle too long.

    ``ray.nodes()`` does not tell: Ray's own libraries ask this way.
    """
    import ray

    return set(ray._private.state.state.get_draining_nodes())


def free_resources(node: str) -> dict[str, float]:
    """Return what nobody has reserved on a node; ``ray.available_resources`` adds all nodes up."""
    import ray

    free: dict[str, float] = ray._private.state.available_resources_per_node().get(node, {})
    return free


def free_abandoned_placement_groups() -> None:
    """Remove the placement groups of this job whose actor died before it could.

    Ray removes them with the job. Train has a cleaner for those of a controller that was killed,
    which takes a process for each run and asks the dashboard, and a local Ray has none: the next
    run would wait for its CPUs for ever. The public table does not say who made a group.
    """
    import ray
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData as Group
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    own = ray.get_runtime_context().get_job_id()
    accessor = ray._private.state.state._connect_and_get_accessor()
    for group in map(Group.FromString, accessor.get_placement_group_table()):
        of_dead_actor = (
            group.creator_actor_dead and not ray.ActorID(group.creator_actor_id).is_nil()
        )
        if (
            of_dead_actor
            and group.creator_job_id.hex() == own
            and group.state != Group.REMOVED
            and not group.is_detached
        ):
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))


def most_resources() -> dict[str, float]:
    """Return what all nodes have that an autoscaler may bring; empty where there is none.

    The limits of a cluster's configuration are shown to the autoscaler alone.
    """
    import ray

    try:
        most = ray._private.state.state.get_max_resources_from_cluster_config()
    except Exception:  # no autoscaler, no answer
        return {}
    return dict(most or {})


def local_gpu_count() -> float:
    """Return the GPUs that a Ray started here would offer, counted its way but without starting it.

    Infinity where this version of Ray cannot be asked: it will say itself what is missing.
    """
    try:
        from ray._private.accelerators import get_accelerator_manager_for_resource

        manager = get_accelerator_manager_for_resource("GPU")
        count: int = manager.get_current_node_num_accelerators()
        visible = manager.get_current_process_visible_accelerator_ids()
    except (ImportError, AttributeError):
        return math.inf
    return count if visible is None else min(count, len(visible))


def free_memory() -> float:
    """Return the bytes that a Ray started here would have for workers and its object store.

    What the container's limit leaves counts, and pages that can be given back do. Infinite where
    this version of Ray cannot be asked.
    """
    try:
        from ray._private.utils import estimate_available_memory
    except ImportError:
        return math.inf
    free: int = estimate_available_memory()
    return float(free)


def dashboard_url() -> str | None:
    """Return where the cluster's dashboard listens; ``ray.init`` tells it only who started Ray."""
    import ray

    node = ray._private.worker._global_node
    return node.webui_url if node is not None else None


def dead_processes() -> list[str]:
    """Return which of ``gcs_server`` and ``raylet`` have ended that this process has started.

    Ray's own watch over the second one ends this process without a word.
    """
    import ray

    node = ray._private.worker._global_node
    if node is None:
        return []
    return [name for name, _ in node.dead_processes() if name in ("gcs_server", "raylet")]


def head_address(address: str) -> str | None:
    """Return HOST:PORT of a cluster, given so or as ``auto``, before this process joins it."""
    from ray._private.services import canonicalize_bootstrap_address

    head: str | None = canonicalize_bootstrap_address(address)
    return head


def own_token() -> str | None:
    """Return this user's token: of RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray.

    Ray looks for it in C++; there is no public call.
    """
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    loader = AuthenticationTokenLoader.instance()
    if not loader.has_token(ignore_auth_mode=True):
        return None
    token: str = loader.get_raw_token(ignore_auth_mode=True)
    return token


def use_own_token() -> None:
    """Have this process show this user's token, if there is one and RAY_AUTH_MODE says nothing."""
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )

    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def ask_head(address: str, token: str | None) -> str:
    """Ask the head at HOST:PORT for its nodes: ``answered``, ``refused``, or the error.

    Whether a cluster asks for a token can only be tried, and ``ray.init`` ends the process where
    it is refused.
    """
    import grpc
    from ray.core.generated import gcs_service_pb2 as messages
    from ray.core.generated import gcs_service_pb2_grpc as services

    metadata = [("authorization", f"Bearer {token}")] if token else None
    with grpc.insecure_channel(address) as channel:
        stub = services.NodeInfoGcsServiceStub(channel)
        request = messages.GetAllNodeInfoRequest()
        try:
            stub.GetAllNodeInfo(request, timeout=LIMIT_S, metadata=metadata)
        except grpc.RpcError as exc:
            if exc.code() == grpc.StatusCode.UNAUTHENTICATED:
                return REFUSED
            return str(exc.code().name.lower().replace("_", " "))
    return ANSWERED


def validate_launcher_file(content: dict[str, Any]) -> None:
    """Raise what ``ray up`` would raise for a launcher's file before it asks a cloud.

    Ray validates such a file in its command line alone.
    """
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(content))


def usual_score(*arguments: Any, **options: Any) -> tuple[Any, ...] | None:
    """Return what the autoscaler's own scorer of node types returns; it can only be replaced."""
    from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer

    score: tuple[Any, ...] | None = _default_utilization_scorer(*arguments, **options)
    return score
