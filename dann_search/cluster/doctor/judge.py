"""Ask each machine for its facts, and judge them."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from dann_search.cluster.doctor import probe
from dann_search.cluster.doctor.needs import Needs
from dann_search.cluster.doctor.nodes import Ask, ProbedNode, Silence, silent, verdict
from dann_search.cluster.doctor.probe import NEEDED, PROJECT, DataPlace, Facts
from dann_search.outputs.cluster import Check
from dann_search.search.authentication import OTHERS
from dann_search.storage.remote_folder import is_url

GIB, MIB = 2**30, 2**20
CUDA_BUILD = "install torch's CUDA build: pip install torch, without the CPU index"
PER_GPU_SHM = 256 * MIB
"""Bytes of /dev/shm that NCCL may use for each GPU of a node with several."""
MAX_SKEW_S = 2.0
"""With a larger skew, heartbeats look stale and logs cannot be compared."""
LOGS = 2 * GIB
"""Bytes for logs and a checkpoint in transit, besides the packed store."""
LOOK_S, STORAGE_S, DATA_S = 90, 60, 120
"""Limits on the slowest node; each starts a worker process first."""

Tell = Callable[[str], None]


def check_nodes(
    nodes: list[ProbedNode], needs: Needs, ask: Ask, tell: Tell, reference: Facts | None = None
) -> tuple[list[Check], dict[ProbedNode, Facts]]:
    """Check each node by itself, and that all share the storage and have the reference's versions.

    Returns:
        The checks, and the facts of the nodes that answered.
    """
    tell(f"looking at {len(nodes)} nodes")
    looked = ask(nodes, probe.look, needs.folders, limit_s=LOOK_S)
    facts = {node: one for node, one in looked.items() if not isinstance(one, Silence)}
    checks = [silent("node", n, one) for n, one in looked.items() if isinstance(one, Silence)]
    checks += _judge_facts(facts, needs, reference)
    if needs.storage is not None:
        tell(f"writing to {needs.storage} from every node")
        checks += _check_storage([*facts], needs.storage, ask)
    if needs.places is not None:
        tell("reaching for the data from every node")
        missing = ask([*facts], probe.missing, needs.places, limit_s=DATA_S)
        checks += [
            silent("data", node, one)
            if isinstance(one, Silence)
            else judge_data(node.name, needs.places, one)
            for node, one in missing.items()
        ]
    return checks, facts


def _judge_facts(
    facts: Mapping[ProbedNode, Facts], needs: Needs, reference: Facts | None
) -> list[Check]:
    by_name = {node.name: one for node, one in facts.items()}
    return [
        *(judge_versions(name, one, reference) for name, one in by_name.items()),
        *judge_cuda(by_name),
        *(judge_gpus(node.name, one, node.gpus) for node, one in facts.items()),
        *(judge_shared_memory(n.name, one, n.store_bytes) for n, one in facts.items()),
        *(judge_disk(name, one, needs) for name, one in by_name.items()),
        *(judge_token_file(name, one) for name, one in by_name.items()),
    ]


def _check_storage(nodes: list[ProbedNode], storage: str, ask: Ask) -> list[Check]:
    run = uuid.uuid4().hex
    wrote = ask(nodes, probe.write, storage, run, limit_s=STORAGE_S)
    done = {node: one for node, one in wrote.items() if not isinstance(one, Silence)}
    seen = ask(nodes, probe.marks, storage, run, limit_s=STORAGE_S)
    # On every node: if they do not share the storage, each has a folder to remove.
    made = any(one.made for one in done.values())
    ask(nodes, probe.erase, storage, run, made, limit_s=STORAGE_S)
    written = {one.mark: node.name for node, one in done.items() if not one.error}
    checks = []
    for node in nodes:
        silence = [one for one in (wrote[node], seen[node]) if isinstance(one, Silence)]
        checks.append(
            silent("storage", node, silence[0])
            if silence
            else judge_storage(node.name, storage, done[node].error, seen[node], written)
        )
    return checks


def judge_count(names: Sequence[str], expected: int) -> Check:
    """Require that so many nodes are there, the head included."""
    here = f"{len(names)} of {expected}: {', '.join(names)}"
    wrong = here if len(names) < expected else ""
    remedy = (
        "look at what failed: ray exec CLUSTER.yaml 'ray status'; workers that come only when a "
        "search asks for them need min_workers"
    )
    return verdict("nodes", "cluster", here, wrong, remedy)


def judge_versions(node: str, facts: Facts, reference: Facts | None = None) -> Check:
    """Compare versions with this project's needs and, on a cluster, with the driver's machine."""
    wrong, remedies = [], []
    for package, rule in _requirements().items():
        has = facts.versions.get(package)
        if has is None or not rule.contains(has, prereleases=True):
            wrong.append(f"{package} {has or 'missing'}, needs {rule}")
            remedies.append(f"pip install '{package}{rule}'")
    for name, theirs in (reference.versions if reference else {}).items():
        mine = facts.versions.get(name)
        # The driver's machine may have the CPU build of the same torch.
        if mine is None or public(mine) != public(theirs):
            wrong.append(f"{name} {mine or 'missing'}, the driver has {theirs}")
            remedies.append("install one version on all nodes (setup_commands, one image)")
    found = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    remedy = "; ".join(dict.fromkeys(remedies))
    return verdict("versions", node, found, "; ".join(wrong), remedy)


def judge_cuda(facts: Mapping[str, Facts]) -> list[Check]:
    """Require the same CUDA and NVIDIA driver on all nodes that have GPUs."""
    found = {
        node: f"CUDA {one.cuda or 'none'}, driver {one.driver}"
        for node, one in facts.items()
        if one.gpus or one.driver
    }
    checks = []
    for node, here in found.items():
        first, wrong, remedy = next(iter(found)), "", "one image for all GPU nodes"
        if facts[node].cuda is None:
            wrong = f"torch was built without CUDA, driver {facts[node].driver}"
            remedy = CUDA_BUILD
        elif here != found[first]:
            wrong = f"{here}; {first} has {found[first]}"
        checks.append(verdict("CUDA", node, here, wrong, remedy))
    return checks


def judge_gpus(node: str, facts: Facts, ray_gpus: float | None = None) -> Check:
    """Compare the GPUs that the driver, torch and, on a cluster, Ray see."""
    there, sees = len(facts.gpus), "none" if facts.torch_gpus is None else facts.torch_gpus
    found, wrong, remedy = "none", "", ""
    if there:
        found = f"{there} ({', '.join(sorted(set(facts.gpus)))})"
    if facts.trouble or sees != there:
        wrong = f"{there} there, torch sees {sees}"
        wrong += f" ({facts.trouble})" if facts.trouble else ""
        remedy = (
            f"{CUDA_BUILD}; update NVIDIA's driver; start containers with NVIDIA's runtime "
            "(docker run --gpus=all)"
        )
    elif ray_gpus is not None and ray_gpus != there:
        wrong = f"torch sees {sees}, Ray offers {ray_gpus:g}"
        remedy = f"resources: {{GPU: {there}}} in cluster.yaml, or ray start --num-gpus={there}"
    return verdict("GPUs", node, found + (", all with Ray" if ray_gpus else ""), wrong, remedy)


def judge_shared_memory(node: str, facts: Facts, store_bytes: float) -> Check:
    """Require room in /dev/shm for Ray's object store and NCCL."""
    several = len(facts.gpus) if len(facts.gpus) > 1 else 0
    needed = int(store_bytes) + several * PER_GPU_SHM
    has = facts.shared_memory
    if has is None:
        return verdict("shared memory", node, "no /dev/shm here: Ray uses files")
    wrong = f"/dev/shm has {_size(has)}, {_size(needed)} are needed" if has < needed else ""
    remedy = "docker run --shm-size=2g; Kubernetes: an emptyDir with medium: Memory at /dev/shm"
    return verdict("shared memory", node, f"/dev/shm {_size(has)}", wrong, remedy)


def judge_token_file(node: str, facts: Facts) -> Check:
    """Require that no other user of a node can read Ray's token."""
    if facts.token_mode is None:
        return verdict("token file", node, "none here")
    found = f"mode {facts.token_mode:04o}"
    wrong = f"{found}: other users can read it and run code on every node"
    remedy = "chmod 600 ~/.ray/auth_token, on the nodes in setup_commands"
    return verdict("token file", node, found, wrong * bool(facts.token_mode & OTHERS), remedy)


def judge_sockets(node: str, trouble: str) -> Check:
    """Require that the paths of Ray's sockets are short enough."""
    wrong, _, remedy = trouble.partition("; ")
    return verdict("sockets", node, "paths short enough", wrong, remedy)


def judge_disk(node: str, facts: Facts, needs: Needs) -> Check:
    """Require room for the packed store where this node keeps it."""
    needed, first = needs.store_bytes + LOGS, facts.disks[0]
    store, size = "a small packed store", _size(needs.store_bytes)
    if needs.places is not None:
        store = f"up to {size} of packed store"
    if needs.store_is_known:
        store = f"the packed store ({size})"
    # A file system without a size (/proc) is no disk: the storage check reports it.
    tight = [disk for disk in facts.disks if disk.total and disk.free < needed]
    wrong = "; ".join(f"{_size(disk.free)} free at {disk.folder}" for disk in tight)
    return verdict(
        "free disk",
        node,
        f"{_size(first.free)} of {_size(first.total)} free at {first.folder}",
        f"{wrong}; {_size(needed)} are needed for {store} and logs" if wrong else "",
        "free or add disk (VolumeSize in cluster.yaml), set XDG_CACHE_HOME to a larger one, or "
        "lower data.image_size",
    )


def judge_skew(node: str, skew_s: float, error_s: float) -> Check:
    """Compare a node's clock with the driver's, measured to within ``error_s``."""
    known = max(0.0, abs(skew_s) - error_s)
    ahead = "ahead of" if skew_s > 0 else "behind"
    wrong = f"{known:.1f} s {ahead} the driver's" if known > MAX_SKEW_S else ""
    found = f"within {abs(skew_s) + error_s:.1f} s of the driver's"
    return verdict("clock", node, found, wrong, "run a time service: sudo timedatectl set-ntp true")


def judge_storage(
    node: str, storage: str, error: str, sees: tuple[str, ...], written: Mapping[str, str]
) -> Check:
    """Require that a node can write to the storage and sees what all others wrote.

    Args:
        node: name of the node.
        storage: path or URL.
        error: why the node could not write; empty if it could.
        sees: names of the files that the node sees.
        written: names of the nodes that could write, by the file of each.
    """
    if error:
        remedy = f"mount it on every node and let {PROJECT} write there, or name another: --storage"
        if is_url(storage):
            remedy = "give every node credentials (an instance profile) and the URL's package"
        return verdict("storage", node, "", f"{storage}: {error}", remedy)
    unseen = [written[name] for name in written if name not in sees]
    wrong = f"{storage}: does not show what {', '.join(unseen)} wrote" if unseen else ""
    remedy = "each node has a folder of its own there: name a mounted file system or object storage"
    return verdict("storage", node, f"{storage}: written, renamed, read", wrong, remedy)


def judge_data(node: str, places: tuple[DataPlace, ...], missing: Mapping[str, str]) -> Check:
    """Require that a node reaches every folder, manifest and URL of the search."""
    found = f"{len(places)} places reached" if places else "embedded, nothing to reach"
    wrong = "; ".join(f"{key}: {why}" for key, why in missing.items())
    remedy = "mount or copy it under the same path on every node, or put it behind a URL"
    return verdict("data", node, found, wrong, remedy)


def _requirements() -> dict[str, SpecifierSet]:
    try:
        found = map(Requirement, requires(PROJECT) or [])
    except PackageNotFoundError:
        return {}
    return {one.name: one.specifier for one in found if one.name in NEEDED and one.marker is None}


def public(version: str) -> str:
    """Return a version without its build: nodes with GPUs do not install 2.13.0+cpu."""
    return version.partition("+")[0]


def _size(number: float) -> str:
    if number >= 10 * GIB:
        return f"{number / GIB:.0f} GiB"
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / MIB:.0f} MiB"
