"""A scorer for Ray's autoscaler: node types that the cloud refused a while ago come last.

Ray 2.60 chooses the node type by how well the demand fills it, and by name among equals. That EC2
just refused one it knows, reports and ignores, so that it asks for the same spot nodes for ever.
Named in ``RAY_AUTOSCALER_UTILIZATION_SCORER`` when the head starts, this scorer puts what was
refused behind everything else; Ray forgets a refusal after half an hour
(``AUTOSCALER_NODE_AVAILABILITY_MAX_STALENESS_S``) and then asks for it again.
"""

from typing import Any


def score(
    node_resources: dict[str, Any],
    resources: list[dict[str, Any]],
    node_type: str,
    *,
    node_availability_summary: Any,
) -> tuple[Any, ...] | None:
    """Ray's own score, behind whether the type is to be had; higher is better.

    Args:
        node_resources: what a node of the type offers.
        resources: the demands that wait.
        node_type: its name.
        node_availability_summary: how the last requests for each type ended.

    Returns:
        None where the type cannot hold any demand.
    """
    from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer

    usual = _default_utilization_scorer(
        node_resources, resources, node_type, node_availability_summary=node_availability_summary
    )
    if usual is None:
        return None
    last = node_availability_summary.node_availabilities.get(node_type)
    fills_gpus, *rest = usual
    # A GPU node for work that needs none is worse than waiting for what was refused.
    return (fills_gpus, last is None or last.is_available, *rest)
