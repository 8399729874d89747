"""Whether nodes can hold a trial, come when it waits, and go with a notice."""

from collections.abc import Iterator

from dann_search.cluster.file.launcher_file import LauncherFile, NodeType
from dann_search.config.experiment import ResourcesConfig
from dann_search.outputs.cluster import Finding

SCORER = "RAY_AUTOSCALER_UTILIZATION_SCORER=dann_search.cluster.spot_first.score"
WATCH = "dann_search.cluster.spot_notice"
VERSION_1 = "RAY_enable_autoscaler_v2=0"
"""Since Ray 2.50 ``ray up`` starts version 2, which has no scorer, and counts the head of a list of
machines among its workers (checked with Ray 2.60)."""


def check_capacity(file: LauncherFile, resources: ResourcesConfig) -> Iterator[Finding]:
    """Compare what a trial needs with the declared resources of each worker type."""
    lacking = {one.name: lack for one in file.workers if (lack := _lack(one, resources))}
    for one in file.workers:
        if one.name in lacking and len(lacking) == len(file.workers):
            yield file.error(
                one.path,
                f"cannot hold a trial of this space: {lacking[one.name]}; choose another machine, "
                "or change resources of the space",
            )
        elif one.name in lacking:
            yield file.warning(one.path, f"never holds a trial of this space: {lacking[one.name]}")
        if one.amount("CPU") is None or one.amount("GPU") is None:
            yield file.warning(
                (*one.path, "resources"),
                "must state CPU and GPU to check whether a trial fits, such as {CPU: 4, GPU: 1}",
            )


def _lack(node_type: NodeType, resources: ResourcesConfig) -> str:
    """Say what a trial needs and a node of the type does not have; empty if it fits."""
    kind, kinds = resources.accelerator_type, node_type.accelerators
    if kind is not None and kinds is not None and kind not in kinds:
        named = ", ".join(kinds) or "none"
        return (
            f"it needs accelerator_type: {kind}, and resources name {named} "
            f"(accelerator_type:{kind}: 1)"
        )
    workers = 1 if resources.across_nodes else resources.workers_per_trial
    gpus = resources.gpus_per_worker
    needs = {
        "CPU": float(resources.cpus_per_worker),
        "GPU": min(node_type.amount("GPU") or 0, 1) if gpus == "auto" else gpus,
        "memory": (resources.memory_per_worker_gib or 0) * 2**30,
    }
    has = {name: amount for name in needs if (amount := node_type.amount(name)) is not None}
    if all(amount >= workers * needs[name] for name, amount in has.items()):
        return ""
    each, together = (f"{workers} workers with ", " each on one node") if workers > 1 else ("", "")
    needed = _listing({name: amount for name, amount in needs.items() if amount})
    return f"it needs {each}{needed}{together}, and it has {_listing(has)}"


def _listing(amounts: dict[str, float]) -> str:
    return " and ".join(
        f"{amount / 2**30:g} GiB of memory"
        if name == "memory"
        else f"{amount:g} {name}{'s' if amount > 1 or not amount else ''}"
        for name, amount in amounts.items()
    )


def check_spot(file: LauncherFile) -> Iterator[Finding]:
    """Require that Ray hears of spot nodes that go, and of those that are not to be had."""
    if file.head.is_spot:
        yield file.error(file.head.path, "must not be spot: the cluster is lost with its head")
    spot = [node_type.is_spot for node_type in file.workers]
    if any(spot) and not any(WATCH in command.text for command in file.commands):
        yield file.warning(
            ("worker_start_ray_commands",),
            "nothing listens for the cloud's notice that it takes a node away, so trials go back "
            f"to their last epoch; add: nohup python -m {WATCH} {file.provider} &",
        )
    # Google's refusals do not reach Ray's autoscaler, so a scorer cannot act on them.
    if file.provider == "aws" and any(spot) and not all(spot) and not _head_sets(file, SCORER):
        yield file.warning(
            file.head.start_key,
            "Ray asks for the spot type again and again while EC2 has none; to fall back to the "
            f"on-demand type put {SCORER} before ray start",
        )


def check_autoscaler(file: LauncherFile) -> Iterator[Finding]:
    """Require the version of Ray's autoscaler that does what the file relies on."""
    if _head_sets(file, VERSION_1):
        return
    if file.provider == "local":
        yield file.error(
            file.head.start_key,
            "Ray's autoscaler v2, which ray up starts, takes the head for a worker and never "
            f"starts the last of worker_ips; put {VERSION_1} before ray start",
        )
    elif _head_sets(file, SCORER):
        yield file.warning(
            file.head.start_key,
            "Ray's autoscaler v2, which ray up starts, ignores the scorer and never falls back to "
            f"the on-demand type; put {VERSION_1} before ray start",
        )


def _head_sets(file: LauncherFile, setting: str) -> bool:
    return any(setting in command.text for command in file.head.starts)
