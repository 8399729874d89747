"""What the precision ``auto`` stands for: bf16 where it makes a backbone's steps faster.

It is decided once for a search, where that begins: all of its trials, wherever they are trained or
resumed, have the precision that its record names. Torch is imported with the first decision.
"""

import contextlib
import hashlib
import json
import platform
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.space import Space
from dann_search.config.trial import AUTO, TrialConfig
from dann_search.data.store import StoreInfo
from dann_search.models.registry import spec_of
from dann_search.search.ray_private import local_gpu_count
from dann_search.search.trial_memory import estimated
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.remote_folder import cache_folder
from dann_search.study.record import SettledPrecision

AMPERE = (8, 0)
"""Compute capability from which NVIDIA's GPUs compute in bf16."""
OLDER_GPUS = {"V100", "P100", "T4", "P4", "K80"}
"""NVIDIA's GPUs that do not, as ``resources.accelerator_type`` names them."""
WORTH = 0.9
"""Share of an fp32 step that one in bf16 takes at most where bf16 is chosen."""
SECONDS, ROUNDS = 0.1, 2
"""About how long steps are timed, and how often in each precision."""
FP32 = "fp32"


def settled_precisions(
    experiment: ExperimentConfig, space: Space, address: str = "local"
) -> dict[str, SettledPrecision]:
    """Decide what ``auto`` stands for, by backbone; empty where the precision is another.

    On a CPU that computes in bf16, steps of a backbone are timed for about a second, once: the
    ratio is kept in the user's cache folder.
    """
    if space.fixed.precision != AUTO:
        return {}
    if gpu := _on_gpus(experiment, address):
        return dict.fromkeys(space.backbones, gpu)
    if not _cpu_knows_bf16():
        none = SettledPrecision(FP32, "the CPU does not compute in bf16")
        return dict.fromkeys(space.backbones, none)
    return {name: _on_cpu(name, experiment, space) for name in space.backbones}


def in_words(settled: Mapping[str, SettledPrecision]) -> str:
    """Say which precision each backbone has, and why."""
    alike: dict[SettledPrecision, list[str]] = defaultdict(list)
    for name, one in settled.items():
        alike[one].append(name)
    parts = (f"{one.precision} for {', '.join(names)}: {one.why}" for one, names in alike.items())
    return f"precision {', '.join(parts)}"


def _on_gpus(experiment: ExperimentConfig, address: str) -> SettledPrecision | None:
    """Decide for trials on GPUs; None where they train on CPUs."""
    wanted, kind = experiment.resources.gpus_per_worker, experiment.resources.accelerator_type
    if wanted == 0:
        return None
    if address != "local":
        if kind is None:
            why = "resources.accelerator_type does not name the cluster's GPUs"
            return SettledPrecision(FP32, why)
        return _of_gpu(kind, kind not in OLDER_GPUS)
    import torch

    if not local_gpu_count() or not torch.cuda.is_available():
        return None
    found = [
        (torch.cuda.get_device_capability(n), torch.cuda.get_device_name(n))
        for n in range(torch.cuda.device_count())
    ]
    capability, name = min(found)  # every trial may meet the oldest
    return _of_gpu(name, capability >= AMPERE)


def _of_gpu(name: str, knows_bf16: bool) -> SettledPrecision:
    if knows_bf16:
        return SettledPrecision("bf16", f"{name} computes in it")
    return SettledPrecision(FP32, f"{name} does not compute in bf16")


def _cpu_knows_bf16() -> bool:
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _on_cpu(backbone: str, experiment: ExperimentConfig, space: Space) -> SettledPrecision:
    """Decide by the time that steps take; fp32 where they cannot be timed."""
    data = experiment.data
    side = data.crop_size or data.image_size or spec_of(backbone).image_size
    recipe = space.fixed.model_copy(update={"backbone": backbone})
    ratio = estimated("precision", lambda: remembered_ratio(recipe, side))
    if ratio is None:
        return SettledPrecision(FP32, "its steps cannot be timed before the search")
    why = f"a step in bf16 takes {ratio:.2f} of one in fp32 here"
    return SettledPrecision("bf16" if ratio <= WORTH else FP32, why)


def remembered_ratio(recipe: TrialConfig, side: int) -> float:
    """Return how long a step in bf16 takes, in steps in fp32; from the cache folder if it can be.

    Measured once for a backbone at this side on a machine with this version of torch.
    """
    import torch

    about = [recipe.backbone, side, torch.__version__, _processor()]
    name = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    file = cache_folder() / "precision" / f"{name}.json"
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return float(json.loads(file.read_text(encoding="utf-8"))["ratio"])
    ratio = step_ratio(recipe, side)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({"about": about[:-1], "ratio": ratio}).encode())
    return ratio


def step_ratio(recipe: TrialConfig, side: int) -> float:
    """Time steps in both precisions, in turns; return how long one in bf16 takes, in fp32's."""
    import torch

    from dann_search.training.speed import measured

    info = StoreInfo(
        class_names=[str(number) for number in range(10)],
        image_size=side,
        fixed_size=True,
        domains={"source": "", "target": ""},
        sizes={},
        hashes={},
        duplicates=0,
    )
    steps: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for precision in ("bf16", FP32):
            one = recipe.model_copy(update={"precision": precision})
            # One thread by its own clock: what else the machine does hardly counts.
            speed = measured(one, info, SECONDS, 1, torch.device("cpu"), clock=time.thread_time)
            steps[precision].append(speed.step)
    return min(steps["bf16"]) / min(steps[FP32])


def _processor() -> str:
    """Return what tells processors apart: their name and what they can do."""
    with contextlib.suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
        lines = [line for line in first.splitlines() if line.startswith(("model name", "flags"))]
        if lines:
            return "\n".join(lines)
    return platform.processor() or platform.machine()
