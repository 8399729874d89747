"""Nodes that may be taken away, what stands in for them, and nodes that are paid for idle."""

from dann_search.cluster.file.cluster_file import ClusterFile, NodeType, section
from dann_search.cluster.file.finding import Notes
from dann_search.config.messages import shown

SCORER = "RAY_AUTOSCALER_UTILIZATION_SCORER"
WATCH = "dann_search.cluster.spot_notice"
OURS = "dann_search.cluster.spot_first.score"


def check_spot(file: ClusterFile, notes: Notes) -> None:
    """Spot types and their on-demand fallback; idle and stopped nodes."""
    spot = [node_type for node_type in file.workers if node_type.is_spot]
    for node_type in spot:
        _check_fallback(node_type, file, notes)
    if spot and file.provider == "aws" and all(_fallbacks(t, file) for t in spot):
        _check_scorer(file, notes)
    if spot:
        _check_notice(file, notes)
    _check_cached(file, notes, bool(spot))
    _check_disks_kept(file, notes)
    if file.provider in ("aws", "gcp"):
        _check_idle(file, notes)


def _fallbacks(node_type: NodeType, file: ClusterFile) -> list[NodeType]:
    """Types that are not taken away and hold whatever it holds."""
    return [
        other
        for other in file.workers
        if not other.is_spot
        and (other.cpus or 0) >= (node_type.cpus or 0)
        and (other.gpus or 0) >= (node_type.gpus or 0)
    ]


def _check_fallback(node_type: NodeType, file: ClusterFile, notes: Notes) -> None:
    others = _fallbacks(node_type, file)
    if not others:
        notes.warning(
            node_type.path,
            "no on-demand type with as many CPUs and GPUs stands in where spot nodes are out, and "
            "the search would wait; add one with min_workers: 0",
        )
    for other in others:
        mine, theirs = node_type.content.get("priority", 0), other.content.get("priority", 0)
        alike = (other.cpus, other.gpus) == (node_type.cpus, node_type.gpus)
        stated = "priority" in node_type.content or "priority" in other.content
        if stated and isinstance(mine, int) and isinstance(theirs, int) and theirs >= mine:
            notes.warning(
                (*other.path, "priority"),
                f"must be less than that of {node_type.name} ({mine}), or on-demand nodes come "
                f"first, got {theirs}",
            )
        if alike and other.name > node_type.name:
            notes.warning(
                other.path,
                f"comes before {node_type.name}: of two types with the same resources Ray's "
                "autoscaler takes the last by name; rename one",
            )
        if other.content.get("min_workers"):
            notes.warning(
                (*other.path, "min_workers"),
                f"should be 0: the fallback of {node_type.name} would run all the time, got "
                f"{shown(other.content['min_workers'])}",
            )


def _check_scorer(file: ClusterFile, notes: Notes) -> None:
    """EC2 says no to a spot request; only a scorer that is told of it asks for something else."""
    starts = [c for c in file.commands("head_start_ray_commands") if c.starts_ray]
    if starts and not any(f"{SCORER}={OURS}" in c.text for c in starts):
        notes.warning(
            starts[0].path,
            "Ray asks for the spot type again and again where EC2 has none; for the fallback to be "
            f"used put {SCORER}={OURS} before ray start",
        )


def _check_notice(file: ClusterFile, notes: Notes) -> None:
    if not any(WATCH in command.text for command in file.all_commands):
        notes.warning(
            ("worker_start_ray_commands",),
            "nobody listens for the cloud's notice that it takes a node, and trials there go back "
            f"to their last epoch; add: nohup python -m {WATCH} {file.provider} &",
        )


def _check_cached(file: ClusterFile, notes: Notes, spot: bool) -> None:
    provider = section(file.content, "provider")
    cached = provider.get("cache_stopped_nodes", file.provider == "aws")
    if cached is not True or file.provider not in ("aws", "gcp"):
        return
    stated = "" if "cache_stopped_nodes" in provider else " (Ray's default)"
    why = (
        "spot nodes cannot be stopped, and the disks of the others are paid for while they are"
        if spot
        else "stopped nodes come back with an old set-up, and their disks are paid for"
    )
    notes.warning(("provider", "cache_stopped_nodes"), f"should be false: {why}; got true{stated}")


def _check_disks_kept(file: ClusterFile, notes: Notes) -> None:
    """EC2 deletes the disks of an image unless told otherwise; Google keeps them likewise."""
    key, rule, right = {
        "aws": ("BlockDeviceMappings", "DeleteOnTermination", None),
        "gcp": ("disks", "autoDelete", False),
    }.get(file.provider, ("", "", None))
    for node_type in file.types if key else []:
        disks = node_type.settings.get(key)
        for disk in disks if isinstance(disks, list) else []:
            stated = section(disk, "Ebs") if file.provider == "aws" else disk
            if isinstance(stated, dict) and stated.get(rule, right) is False:
                notes.warning(
                    (*node_type.path, "node_config", key),
                    f"{rule} should be true: the disks of nodes that are gone are paid for",
                )


def _check_idle(file: ClusterFile, notes: Notes) -> None:
    minutes = file.content.get("idle_timeout_minutes")
    if minutes is None:
        notes.warning(
            ("idle_timeout_minutes",), "is missing: say after how many idle minutes a node goes"
        )
    elif isinstance(minutes, int | float) and minutes > 60:
        notes.warning(
            ("idle_timeout_minutes",), f"idle nodes are paid for {minutes:g} minutes; 10 will do"
        )
