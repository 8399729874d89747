"""A scorer for Ray's autoscaler that ranks node types last which the cloud refused recently.

Ray 2.60 chooses the node type that the demand fills best, and by name among equals. It reports a
refusal of EC2's but does not act on it, so it asks for the same spot nodes forever. Set
``RAY_AUTOSCALER_UTILIZATION_SCORER`` to this scorer when the head starts. Ray forgets a refusal
after half an hour (``AUTOSCALER_NODE_AVAILABILITY_MAX_STALENESS_S``) and asks for the type again.
"""

from typing import Any

from dann_search.search.ray_private import usual_score


def score(
    node_resources: dict[str, Any],
    resources: list[dict[str, Any]],
    node_type: str,
    *,
    node_availability_summary: Any,
) -> tuple[Any, ...] | None:
    """Return Ray's own score, preceded by whether the type is available; higher is better.

    Args:
        node_resources: resources of a node of the type.
        resources: pending demands.
        node_type: name of the type.
        node_availability_summary: outcome of the last request for each type.

    Returns:
        The score, or None if the type cannot hold any demand.
    """
    usual = usual_score(
        node_resources, resources, node_type, node_availability_summary=node_availability_summary
    )
    if usual is None:
        return None
    last = node_availability_summary.node_availabilities.get(node_type)
    fills_gpus, *rest = usual
    # Using a GPU node for work that needs no GPU is worse than waiting for the refused type.
    return (fills_gpus, last is None or last.is_available, *rest)
