"""Images that have no CUDA where there are GPUs, as far as their names tell for sure."""

import re

from dann_search.cluster.file.cluster_file import ClusterFile, NodeType, section
from dann_search.cluster.file.finding import Notes, count
from dann_search.config.source import KeyPath

PLAIN = ("python", "ubuntu", "debian", "alpine", "continuumio/miniconda3")
"""Public images that ask for no GPU: NVIDIA's container runtime gives them none."""

OLDEST_PYTHON = 11
RAYS = re.compile(r"(^|/)rayproject/ray(-ml|-llm)?$")


def check_images(file: ClusterFile, notes: Notes) -> None:
    """The container's image, or the machine's where there is no container."""
    if found := file.head_image:
        _check_python(*found, notes)
    workers: list[NodeType | None] = [*file.workers] or [None]
    for node_type in workers:
        if found := file.worker_image(node_type):
            _check_python(*found, notes)
            if node_type is not None and node_type.gpus:
                _check_cuda(*found, node_type, file, notes)
    for one in file.types:
        if file.provider == "aws":
            _check_ami(one, file, notes)
            _check_arm(one, file, notes)
        if file.provider == "gcp" and one.gpus:
            _check_driver(one, notes)


def _check_python(path: KeyPath, image: str, notes: Notes) -> None:
    name, tag = _split(image)
    if not RAYS.search(name):
        return
    python = re.search(r"-py3(\d+)", tag)
    if python and int(python[1]) < OLDEST_PYTHON:
        notes.error(path, f"must have Python 3.{OLDEST_PYTHON} or later, got {image}")
    if not tag or re.match(r"latest|nightly", tag):
        notes.warning(path, f"names no version: a node that joins later gets another; got {image}")


def _check_cuda(
    path: KeyPath, image: str, node_type: NodeType, file: ClusterFile, notes: Notes
) -> None:
    options = " ".join(file.worker_options(node_type))
    if "--gpus" in options:
        return
    if _is_for_cpus(*_split(image)):
        notes.error(
            path,
            f"{image} has no CUDA and {node_type.name} has {count(node_type.gpus or 0, 'GPU')}; "
            "take one with CUDA, such as rayproject/ray:VERSION-py311-gpu",
        )
    if file.docker.get("disable_automatic_runtime_detection") and "--runtime" not in options:
        notes.error(
            ("docker", "disable_automatic_runtime_detection"),
            f"containers on {node_type.name} would see none of its GPUs; remove it or add "
            "--gpus=all to run_options",
        )


def is_rays(image: str) -> bool:
    """Whether it is one of Ray's own, in which this project is not."""
    return bool(RAYS.search(_split(image)[0]))


def _split(image: str) -> tuple[str, str]:
    """Name and tag, without a digest; a registry's port is no tag."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    return (name, tag) if name and "/" not in tag else (image, "")


def _is_for_cpus(name: str, tag: str) -> bool:
    if RAYS.search(name):
        return not re.search(r"-(gpu|cu\d+)|^gpu$", tag)
    return name in PLAIN or bool(re.search(r"(^|-)cpu($|-)", tag))


def _check_ami(node_type: NodeType, file: ClusterFile, notes: Notes) -> None:
    if "ImageId" in node_type.settings or "LaunchTemplate" in node_type.settings:
        return
    if file.docker and not node_type.gpus:
        return
    notes.error(
        (*node_type.path, "node_config", "ImageId"),
        "is missing: Ray's default is an image of 2022 (Ubuntu 18.04, CUDA 11.2), too old for "
        "this project's torch",
    )


def _check_arm(node_type: NodeType, file: ClusterFile, notes: Notes) -> None:
    """Graviton: a g behind the generation, as in m7g, c7gn and g5g, but not in g5 or g4dn."""
    machine = str(node_type.settings.get("InstanceType"))
    if not re.match(r"[a-z]+\d+g[a-z]*\.", machine):
        return
    image = file.head_image if node_type.is_head else file.worker_image(node_type)
    if image and is_rays(image[1]) and "-aarch64" not in image[1]:
        notes.error(
            (*node_type.path, "node_config", "InstanceType"),
            f"{machine} is an ARM machine and {image[1]} is not for it; choose an x86 one",
        )


def _check_driver(node_type: NodeType, notes: Notes) -> None:
    """An image of Google's for CPUs has no NVIDIA driver."""
    disks = node_type.settings.get("disks")
    for disk in disks if isinstance(disks, list) else []:
        name = str(section(disk, "initializeParams").get("sourceImage")).rpartition("/")[2]
        if re.search(r"(^|-)cpu($|-)", name):
            notes.error(
                (*node_type.path, "node_config", "disks"),
                f"{name} has no NVIDIA driver, and the nodes have GPUs; take one with CUDA, such "
                "as common-cu129-ubuntu-2204-nvidia-580",
            )
