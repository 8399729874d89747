"""Whether the nodes can hold a trial, its data and what runs on the head."""

from typing import Any

from dann_search.cluster.file.cluster_file import ClusterFile, NodeType
from dann_search.cluster.file.finding import Notes, count
from dann_search.config.experiment import Experiment, ResourcesConfig
from dann_search.config.source import KeyPath

DEFAULT_STORE_GIB = 50.0
"""As ``data.store_limit_gib`` has it."""

IMAGE_GIB = 60
"""System, container image and packages with CUDA, with room for logs and checkpoints."""

RUN_GIB, HEAD_GIB = 1.0, 5.0
"""A worker node's Train run and light trials on the head; Ray, driver and study there."""


def check_capacity(file: ClusterFile, notes: Notes, experiment: Experiment | None) -> None:
    """Trials on workers, none on the head, disks for the packed store."""
    for node_type in file.types:
        _check_against_machine(node_type, notes)
    if file.content.get("max_workers") == 0:
        notes.error(("max_workers",), "must be at least 1: the head trains nothing, got 0")
    if "max_workers" not in file.content and file.types:
        notes.warning(("max_workers",), "is missing: Ray's default is 2 worker nodes in all")
    _check_counts(file, notes)
    if experiment is not None:
        _check_trials(file, notes, experiment.resources)
    _check_head(file, notes, experiment)
    _check_disks(file, notes, experiment)


def _check_against_machine(node_type: NodeType, notes: Notes) -> None:
    machine, stated = node_type.machine, node_type.content.get("resources")
    path = (*node_type.path, "resources")
    if not isinstance(stated, dict):
        return
    if node_type.provider == "gcp" and not node_type.is_head and not stated.get("CPU"):
        notes.error(path, "must name CPU, and GPU where there are some: Ray does not ask GCP")
    if machine is None:
        return
    for name, has in (("CPU", machine.cpus), ("GPU", machine.gpus)):
        if isinstance(stated.get(name), int) and stated[name] > has:
            what = node_type.settings.get("InstanceType") or node_type.settings.get("machineType")
            notes.error((*path, name), f"must be at most {has} for {what}, got {stated[name]}")


def _check_counts(file: ClusterFile, notes: Notes) -> None:
    """Fewest and most nodes of each type, and of all."""
    total = 0
    for node_type in file.types:
        least, most = (
            _whole(node_type.content.get(key), (*node_type.path, key), notes)
            for key in ("min_workers", "max_workers")
        )
        if least is not None and most is not None and least > most:
            notes.error(
                (*node_type.path, "min_workers"),
                f"must be at most max_workers ({most}), got {least}",
            )
            return
        total += least or 0
    most = _whole(file.content.get("max_workers"), ("max_workers",), notes)
    if most is not None and total > most > 0:
        notes.error(
            ("max_workers",), f"must be at least the sum of all min_workers ({total}), got {most}"
        )


def _whole(number: Any, path: KeyPath, notes: Notes) -> int | None:
    if not isinstance(number, int) or isinstance(number, bool):
        return None
    if number < 0:
        notes.error(path, f"must be at least 0, got {number}")
        return None
    return number


def _check_trials(file: ClusterFile, notes: Notes, resources: ResourcesConfig) -> None:
    """A trial's workers sit on one node, unless it says that they need not."""
    known = [t for t in file.workers if t.cpus is not None and t.gpus is not None]
    lacking = {t.name: (t, missing) for t in known if (missing := _lacks(t, resources))}
    none_fits = bool(lacking) and len(lacking) == len(file.workers)
    for node_type, missing in lacking.values():
        if none_fits:
            notes.error(
                node_type.path,
                f"cannot hold a trial of this space: {missing}; choose another machine, or change "
                "resources of the space",
            )
        else:
            notes.warning(node_type.path, f"never holds a trial of this space: {missing}")


def _lacks(node_type: NodeType, resources: ResourcesConfig) -> str:
    """What a trial needs that a node of a type has not."""
    kind, kinds = resources.accelerator_type, node_type.accelerators
    if kind is not None and kinds is not None and kind not in kinds:
        # Ray's autoscaler goes by this resource; of EC2's machines it knows it by itself.
        return (
            f"it needs accelerator_type: {kind}, and resources name "
            f"{', '.join(sorted(kinds)) or 'none'} (accelerator_type:{kind}: 1)"
        )
    workers = 1 if resources.across_nodes else resources.workers_per_trial
    gpus = _gpus_of_worker(node_type, resources)
    memory = node_type.machine.memory_gib if node_type.machine else None
    each = resources.memory_per_worker_gib or 0.0
    fits = (node_type.cpus or 0) >= workers * resources.cpus_per_worker
    fits = fits and (node_type.gpus or 0) >= workers * gpus
    if fits and (memory is None or memory >= workers * each):
        return ""
    needs = count(resources.cpus_per_worker, "CPU")
    needs += f" and {gpus:g} GPU{'' if gpus <= 1 else 's'}" if gpus else ""
    needs += f" and {each:g} GiB of memory" if each else ""
    has = _has(node_type) + (f" and {memory} GiB" if each and memory else "")
    if workers > 1:
        return f"it needs {workers} workers with {needs} each on one node, and it has {has}"
    return f"it needs {needs}, and it has {has}"


def _gpus_of_worker(node_type: NodeType, resources: ResourcesConfig) -> float:
    gpus = resources.gpus_per_worker
    return min(node_type.gpus or 0, 1) if gpus == "auto" else gpus


def _has(node_type: NodeType) -> str:
    return f"{count(node_type.cpus or 0, 'CPU')} and {count(node_type.gpus or 0, 'GPU')}"


def _check_head(file: ClusterFile, notes: Notes, experiment: Experiment | None) -> None:
    head = file.head
    if head is None:
        return
    for key in ("min_workers", "max_workers"):
        if head.content.get(key):
            notes.error(
                (*head.path, key),
                f"must be 0: nodes of the head's type would join as workers, got "
                f"{head.content[key]}",
            )
    if head.is_spot:
        notes.error(head.path, "must not be spot: with the head the whole cluster is taken away")
    takes_work = head.cpus is None or head.cpus > 0
    if takes_work and _without_gpus(file, experiment):
        offers = "all its CPUs" if head.cpus is None else count(head.cpus, "CPU")
        notes.warning(
            (*head.path, "resources", "CPU"),
            f"the head offers {offers} to trials, and slows the search down when it is busy; "
            "resources: {CPU: 0} keeps it free",
        )
    _check_head_memory(file, head, notes)


def _without_gpus(file: ClusterFile, experiment: Experiment | None) -> bool:
    """Whether a worker may be one that asks for no GPU, as far as is known."""
    if experiment is None:
        return True
    gpus = experiment.resources.gpus_per_worker
    return not (any(t.gpus for t in file.workers) if gpus == "auto" else gpus)


def _check_head_memory(file: ClusterFile, head: NodeType, notes: Notes) -> None:
    memory = head.machine and head.machine.memory_gib
    most = file.content.get("max_workers", 2)
    needed = HEAD_GIB + RUN_GIB * most if isinstance(most, int) else 0.0
    if memory and memory < needed:
        notes.warning(
            (*head.path, "node_config"),
            f"the head has {memory} GiB of memory; with {most} worker nodes it carries {most} "
            f"Train runs, the driver and Ray: {needed:.0f} GiB",
        )


def _check_disks(file: ClusterFile, notes: Notes, experiment: Experiment | None) -> None:
    store = DEFAULT_STORE_GIB if experiment is None else experiment.data.store_limit_gib
    needed = store + IMAGE_GIB
    key = {"aws": "BlockDeviceMappings", "gcp": "disks"}.get(file.provider)
    for node_type in file.workers if key else []:
        size, path = node_type.disk_gib, (*node_type.path, "node_config", str(key))
        if size is None:
            notes.warning(path, f"is missing: a worker needs a disk of {needed:.0f} GiB")
        elif size < needed:
            notes.warning(
                path,
                f"a worker needs {needed:.0f} GiB: the packed store (up to {store:g} GiB, "
                f"data.store_limit_gib), system and packages; got {size}",
            )
