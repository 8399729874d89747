"""How many CPUs and GPUs a cloud's machine type has, as far as its name tells."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """CPUs, GPUs, memory in GiB (None where the name does not tell), and Ray's name of its GPUs."""

    cpus: int
    gpus: int
    memory_gib: int | None = None
    accelerator: str | None = None


AWS_GPUS: dict[str, dict[str, int]] = {
    "g4dn": {"12xlarge": 4, "metal": 8},
    "g5": {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8},
    "g6": {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8},
    "g6e": {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8},
    "gr6": {},
    "p3": {"8xlarge": 4, "16xlarge": 8},
    "p3dn": {"24xlarge": 8},
    "p4d": {"24xlarge": 8},
    "p4de": {"24xlarge": 8},
    "p5": {"48xlarge": 8},
    "p5e": {"48xlarge": 8},
    "p5en": {"48xlarge": 8},
    "p6-b200": {"48xlarge": 8},
}
"""GPUs by family and size, where a size has not one."""

AWS_ACCELERATORS = {
    "g4dn": "T4",
    "g5": "A10G",
    "g6": "L4",
    "gr6": "L4",
    "g6e": "L40S",
    "p3": "V100",
    "p3dn": "V100",
    "p4d": "A100",
    "p4de": "A100",
    "p5": "H100",
    "p5e": "H200",
    "p5en": "H200",
    "p6-b200": "B200",
}

SMALL = {"nano": 2, "micro": 2, "small": 2, "medium": 2, "large": 2, "xlarge": 4}
GIB_PER_CPU = {"c": 2, "m": 4, "r": 8, "g4dn": 4, "g5": 4, "g6": 4, "gr6": 8, "g6e": 8}
"""By family, or by its first letter."""

GCP_GPUS = {
    "g2-standard": {24: 2, 48: 4, 96: 8},
    "a2-highgpu": {1: 1, 2: 2, 4: 4, 8: 8},
    "a2-ultragpu": {1: 1, 2: 2, 4: 4, 8: 8},
    "a2-megagpu": {16: 16},
    "a3-highgpu": {1: 1, 2: 2, 4: 4, 8: 8},
    "a3-megagpu": {8: 8},
}
"""GPUs by series and the number in the name: CPUs for g2, GPUs for a2 and a3."""

GCP_CPUS_PER_GPU = {"a2-highgpu": 12, "a2-ultragpu": 12, "a2-megagpu": 6, "a3": 26}


def aws_machine(name: str) -> Machine | None:
    """Of an EC2 instance type such as ``g5.12xlarge``; None where it cannot be told."""
    family, _, size = name.partition(".")
    many = re.fullmatch(r"(\d+)xlarge", size)
    cpus = 4 * int(many[1]) if many else SMALL.get(size)
    if cpus is None:
        return None
    per_cpu = GIB_PER_CPU.get(family, GIB_PER_CPU.get(family[:1]))
    memory = per_cpu and per_cpu * cpus
    if family in AWS_GPUS:
        gpus = AWS_GPUS[family].get(size, 1)
        return Machine(cpus, gpus, memory, AWS_ACCELERATORS[family])
    if re.match(r"(g|p|trn|inf|dl|vt|f)\d", family):
        return None
    return Machine(cpus, 0, memory)


def gcp_machine(name: str, accelerators: int) -> Machine | None:
    """Of a GCE machine type such as ``g2-standard-8`` with so many GPUs added to it."""
    found = re.search(r"(?:^|/)([a-z]\w*-[a-z]+)-(\d+)(g?)$", name)
    if not found:
        return None
    series, number = found[1], int(found[2])
    if found[3]:
        per_gpu = GCP_CPUS_PER_GPU.get(series, GCP_CPUS_PER_GPU.get(series.partition("-")[0]))
        return None if per_gpu is None else Machine(per_gpu * number, number)
    gpus = GCP_GPUS["g2-standard"].get(number, 1) if series == "g2-standard" else accelerators
    gib = {"standard": 4, "highmem": 8, "highcpu": 1}.get(series.partition("-")[2])
    return Machine(number, gpus, gib and gib * number)
