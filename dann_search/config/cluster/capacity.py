"""Whether the nodes can hold a trial, its data and what runs on the head."""

from dann_search.config.cluster.cluster_file import ClusterFile, NodeType
from dann_search.config.cluster.finding import Notes, count
from dann_search.config.experiment import Experiment, ResourcesConfig

DEFAULT_STORE_GIB = 50.0
"""As ``data.store_limit_gib`` has it."""

IMAGE_GIB = 60
"""System, container image and packages with CUDA, with room for logs and checkpoints."""

RUN_GIB, HEAD_GIB = 1.0, 5.0
"""A worker node's Train run and light trials on the head; Ray, driver and study there."""

SHARE = 0.95
"""Of its CPUs a worker reserves so much, see ``search.resources``."""


def check_capacity(file: ClusterFile, notes: Notes, experiment: Experiment | None) -> None:
    """Trials on workers, none on the head, disks for the packed store."""
    for node_type in file.types:
        _check_against_machine(node_type, notes)
    if file.content.get("max_workers") == 0:
        notes.error(("max_workers",), "must be at least 1: the head trains nothing, got 0")
    if "max_workers" not in file.content and file.types:
        notes.warning(("max_workers",), "is missing: Ray's default is 2 worker nodes in all")
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


def _check_trials(file: ClusterFile, notes: Notes, resources: ResourcesConfig) -> None:
    """A trial's workers sit on one node."""
    known = [t for t in file.workers if t.cpus is not None and t.gpus is not None]
    too_small = [t for t in known if not _fits(t, resources)]
    none_fits = bool(too_small) and len(too_small) == len(file.workers)
    for node_type in too_small:
        needs = f"{_needs(node_type, resources)}, and it has {_has(node_type)}"
        if none_fits:
            notes.error(
                node_type.path,
                f"cannot hold a trial of this space: {needs}; choose a larger machine, or lower "
                "resources.workers_per_trial or cpus_per_worker of the space",
            )
        else:
            notes.warning(node_type.path, f"never holds a trial of this space: {needs}")


def _fits(node_type: NodeType, resources: ResourcesConfig) -> bool:
    workers = resources.workers_per_trial
    cpus, gpus = node_type.cpus or 0, node_type.gpus or 0
    gpus_needed = workers * _gpus_of_worker(node_type, resources)
    return cpus >= workers * resources.cpus_per_worker and gpus >= gpus_needed


def _gpus_of_worker(node_type: NodeType, resources: ResourcesConfig) -> float:
    gpus = resources.gpus_per_worker
    return min(node_type.gpus or 0, 1) if gpus == "auto" else gpus


def _needs(node_type: NodeType, resources: ResourcesConfig) -> str:
    workers, gpus = resources.workers_per_trial, _gpus_of_worker(node_type, resources)
    several = workers > 1
    return (
        (f"it needs {workers} workers with " if several else "it needs ")
        + count(resources.cpus_per_worker, "CPU")
        + (f" and {gpus:g} GPU{'' if gpus <= 1 else 's'}" if gpus else "")
        + (" each on one node" if several else "")
    )


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
    wanted = _cpus_that_a_worker_needs(file, experiment)
    if wanted is not None and (head.cpus is None or head.cpus >= wanted * SHARE):
        notes.warning(
            (*head.path, "resources", "CPU"),
            f"the head offers {'all its' if head.cpus is None else head.cpus} CPUs and takes "
            f"trials that need no GPU; resources: {{CPU: {min(wanted - 1, 1)}}} keeps them off",
        )
    _check_head_memory(file, head, notes)


def _cpus_that_a_worker_needs(file: ClusterFile, experiment: Experiment | None) -> int | None:
    """The least that a worker without a GPU asks for; None where every worker asks for a GPU."""
    if experiment is None:
        return 2
    gpus = experiment.resources.gpus_per_worker
    if gpus == "auto":
        gpus = min((t.gpus or 0 for t in file.workers), default=0)
    return None if gpus else experiment.resources.cpus_per_worker


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
