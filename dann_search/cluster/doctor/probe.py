"""Collect the facts of a node. Runs on every node, without Ray, with a limit on each command."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import runpy
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dann_search.search.authentication import token_file_mode
from dann_search.storage.remote_folder import cache_folder

PACKAGES = ("dann-search", "ray", "torch", "torchvision", "optuna")
COMMAND_LIMIT_S = 60
SEES = "import json, torch; print(json.dumps(torch.cuda.device_count()))"


@dataclass(frozen=True)
class Disk:
    """Free and total bytes of the file system where a folder is, or would be."""

    folder: str
    free: int
    total: int


@dataclass(frozen=True)
class Facts:
    """What a node has.

    Attributes:
        hostname: name of the machine.
        versions: of Python and of the packages that are installed.
        cuda: version that torch was built for.
        driver: version of NVIDIA's driver; None without one.
        gpus: their names by NVIDIA's driver.
        torch_gpus: number of GPUs that torch sees; None if it could not be asked.
        trouble: error of torch or the driver; empty if there was none.
        shared_memory: bytes of /dev/shm; None without one.
        disks: that of the packed stores, then those of the folders asked about.
        token_mode: permissions of the file with Ray's token; None without one.
    """

    hostname: str
    versions: dict[str, str]
    cuda: str | None
    driver: str | None
    gpus: tuple[str, ...]
    torch_gpus: int | None
    trouble: str
    shared_memory: int | None
    disks: tuple[Disk, ...]
    token_mode: int | None = None


def look(folders: tuple[str, ...] = ()) -> Facts:
    """Collect the facts of this machine; ``folders`` need disk besides the cache."""
    driver, gpus, trouble = _driver()
    torch_gpus: int | None = 0
    if gpus:
        torch_gpus, trouble = _torch_gpus()
    return Facts(
        hostname=socket.gethostname(),
        versions=_versions(),
        cuda=_cuda_of_torch(),
        driver=driver,
        gpus=gpus,
        torch_gpus=torch_gpus,
        trouble=trouble,
        shared_memory=_shared_memory(),
        disks=tuple(disk(Path(folder)) for folder in (str(cache_folder()), *folders)),
        token_mode=token_file_mode(),
    )


def clock() -> float:
    """Return the seconds since 1970 by this machine's clock."""
    return time.time()


def disk(folder: Path) -> Disk:
    """Return the disk where a folder is or would be made."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    usage = shutil.disk_usage(there)
    return Disk(str(folder), usage.free, usage.total)


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cuda_of_torch() -> str | None:
    """Read torch's version file: importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        return runpy.run_path(str(Path(spec.origin).parent / "version.py")).get("cuda")
    except OSError:
        return None


def _driver() -> tuple[str | None, tuple[str, ...], str]:
    """Return the version of NVIDIA's driver, the names of its GPUs, and its error."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None, (), ""
    query = [command, "--query-gpu=driver_version,name", "--format=csv,noheader"]
    out, trouble = _output(query)
    rows = [line.partition(", ") for line in out.splitlines() if ", " in line]
    return (rows[0][0] if rows else None), tuple(name for _, _, name in rows), trouble


def _torch_gpus() -> tuple[int | None, str]:
    """Ask torch in a subprocess: CUDA can hang, and Ray hides GPUs from small tasks."""
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    out, trouble = _output([sys.executable, "-c", SEES], environment)
    try:
        return int(json.loads(out)), ""
    except ValueError:
        return None, trouble or "torch could not be asked"


def _output(command: list[str], environment: dict[str, str] | None = None) -> tuple[str, str]:
    """Return standard output, and the last line of the error."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"{Path(command[0]).name} said nothing for {COMMAND_LIMIT_S} s"
    except OSError as exc:
        return "", str(exc)
    said = (done.stderr or done.stdout).strip().splitlines()
    return done.stdout, said[-1] if done.returncode and said else ""


def _shared_memory() -> int | None:
    try:
        memory = os.statvfs("/dev/shm")
    except OSError:
        return None
    return memory.f_frsize * memory.f_blocks
