"""Whether nodes can hold a trial, and what happens to it when a spot node is taken away."""

from collections.abc import Iterator

from dann_search.cluster.file.launcher_file import LauncherFile, NodeType
from dann_search.config.experiment import ResourcesConfig
from dann_search.outputs.cluster import Finding

SCORER = "RAY_AUTOSCALER_UTILIZATION_SCORER=dann_search.cluster.spot_first.score"
WATCH = "dann_search.cluster.spot_notice"


def check_capacity(file: LauncherFile, resources: ResourcesConfig) -> Iterator[Finding]:
    """Compare what a trial needs with the declared resources of each worker type."""
    lacking = [(t, lack) for t in file.workers if (lack := _lack(t, resources))]
    none_fits = len(lacking) == len(file.workers)
    for node_type, lack in lacking:
        if none_fits:
            yield file.error(
                node_type.path,
                f"cannot hold a trial of this space: {lack}; choose another machine, or change "
                "resources of the space",
            )
        else:
            yield file.warning(node_type.path, f"never holds a trial of this space: {lack}")
    for node_type in file.workers:
        if node_type.amount("CPU") is None or node_type.amount("GPU") is None:
            yield file.warning(
                (*node_type.path, "resources"),
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
    each = f"{workers} workers with " if workers > 1 else ""
    together = " each on one node" if workers > 1 else ""
    needed = _listing({name: amount for name, amount in needs.items() if amount})
    return f"it needs {each}{needed}{together}, and it has {_listing(has)}"


def _listing(amounts: dict[str, float]) -> str:
    words = []
    for name, amount in amounts.items():
        if name == "memory":
            words.append(f"{amount / 2**30:g} GiB of memory")
        else:
            words.append(f"{amount:g} {name}{'s' if amount > 1 or not amount else ''}")
    return " and ".join(words)


def check_spot(file: LauncherFile) -> Iterator[Finding]:
    """Require that Ray hears of spot nodes that go, and of those that are not to be had."""
    if file.head.is_spot:
        yield file.error(file.head.path, "must not be spot: the cluster is lost with its head")
    spot = [node_type.is_spot for node_type in file.workers]
    if not any(spot):
        return
    if not any(WATCH in command.text for command in file.commands):
        yield file.warning(
            ("worker_start_ray_commands",),
            "nothing listens for the cloud's notice that it takes a node away, so trials go back "
            f"to their last epoch; add: nohup python -m {WATCH} {file.provider} &",
        )
    starts = file.starts("head")
    # Google's refusals do not reach Ray's autoscaler, so a scorer cannot act on them.
    if file.provider == "aws" and not all(spot) and not any(SCORER in c.text for c in starts):
        yield file.warning(
            starts[0].path if starts else ("head_start_ray_commands",),
            "Ray asks for the spot type again and again while EC2 has none; to fall back to the "
            f"on-demand type put {SCORER} before ray start",
        )
