"""What runs on every node: collect its facts, write to the storage, look for the data.

Without Ray, and with a limit on each command.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import runpy
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from dann_search.config.source import KeyPath, dotted
from dann_search.search.authentication import token_file_mode
from dann_search.storage.remote_folder import cache_folder

PROJECT = "dann-search"
NEEDED = ("ray", "torch", "torchvision", "optuna")
COMMAND_LIMIT_S = 60
FOLDER = ".dann-search-doctor"
SEES = "import json, torch; print(json.dumps(torch.cuda.device_count()))"


@dataclass(frozen=True)
class Disk:
    """Free and total bytes of the file system where a folder is, or would be."""

    folder: str
    free: int
    total: int


@dataclass(frozen=True)
class Facts:
    """What a node has; None stands for what it lacks.

    Attributes:
        versions: of Python and of the packages that are installed.
        cuda: version that torch was built for.
        driver: version of NVIDIA's driver.
        gpus: their names by NVIDIA's driver.
        torch_gpus: number of GPUs that torch sees; None if it could not be asked.
        trouble: error of torch or the driver; empty if there was none.
        shared_memory: bytes of /dev/shm.
        disks: that of the packed stores, then those of the folders asked about.
        token_mode: permissions of the file with Ray's token.
    """

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
        versions=installed_versions(),
        cuda=_cuda_of_torch(),
        driver=driver,
        gpus=gpus,
        torch_gpus=torch_gpus,
        trouble=trouble,
        shared_memory=_shared_memory(),
        disks=tuple(map(disk, (cache_folder(), *map(Path, folders)))),
        token_mode=token_file_mode(),
    )


def clock() -> float:
    """Return the seconds since 1970 by this machine's clock."""
    return time.time()


def disk(folder: Path) -> Disk:
    """Return the disk where a folder is or would be made."""
    usage = shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists()))
    return Disk(str(folder), usage.free, usage.total)


@cache
def installed_versions() -> dict[str, str]:
    """Return the versions of Python, this project and the packages that it is made of."""
    found = {"Python": platform.python_version()}
    for name in (PROJECT, *NEEDED):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
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
    pipes: Any = {"capture_output": True, "text": True, "check": False}
    try:
        done = subprocess.run(command, env=environment, timeout=COMMAND_LIMIT_S, **pipes)
    except subprocess.TimeoutExpired:
        return "", f"{Path(command[0]).name} said nothing for {COMMAND_LIMIT_S} s"
    except OSError as exc:
        return "", str(exc)
    said = (done.stderr or done.stdout).strip().splitlines()
    return done.stdout, said[-1] if done.returncode and said else ""


def _shared_memory() -> int | None:
    with contextlib.suppress(OSError):
        memory = os.statvfs("/dev/shm")
        return memory.f_frsize * memory.f_blocks
    return None


@dataclass(frozen=True)
class DataPlace:
    """A folder or file that a search reads: its key in the experiment file, its path or URL."""

    path: KeyPath
    where: str
    is_file: bool = False

    @property
    def key(self) -> str:
        """Its key in messages."""
        return dotted(self.path)


@dataclass(frozen=True)
class Written:
    """The name of a node's file, why it could not be written, and whether its folder was made."""

    mark: str
    error: str
    made: bool


def write(storage: str, run: str) -> Written:
    """Write a file under a temporary name, rename it, read it back."""
    mark, made, error = uuid.uuid4().hex, False, ""
    try:
        system, root = _system(storage)
        made = not system.exists(root)
        folder = f"{root}/{FOLDER}/{run}"
        system.makedirs(folder, exist_ok=True)
        system.pipe_file(f"{folder}/{mark}.new", mark.encode())
        system.mv(f"{folder}/{mark}.new", f"{folder}/{mark}")
        if system.cat_file(f"{folder}/{mark}") != mark.encode():
            error = "what was written does not read back the same"
    # Each file system raises its own errors.
    except Exception as exc:
        error = _said(exc)
    return Written(mark, error, made)


def marks(storage: str, run: str) -> tuple[str, ...]:
    """List the files of a run that this node sees."""
    try:
        system, root = _system(storage)
        system.invalidate_cache()
        names = system.ls(f"{root}/{FOLDER}/{run}", detail=False)
    except Exception:
        return ()
    return tuple(sorted(PurePosixPath(name).name for name in names))


def erase(storage: str, run: str, made: bool) -> None:
    """Remove the files of a run, and the storage's folder if it was made for them."""
    with contextlib.suppress(Exception):
        system, root = _system(storage)
        system.rm(f"{root}/{FOLDER}/{run}", recursive=True)
    # This fails while another doctor is at work, whose files are in the folder.
    with contextlib.suppress(Exception):
        system.rmdir(f"{root}/{FOLDER}")
        if made:
            system.rmdir(root)


def missing(places: tuple[DataPlace, ...]) -> dict[str, str]:
    """Say by key why this node cannot reach a place, for each that it cannot."""
    found = {}
    for place in places:
        try:
            system, path = _system(place.where)
            if place.is_file and not system.isfile(path):
                found[place.key] = f"no such file: {place.where}"
            elif not place.is_file and not (system.isdir(path) and system.ls(path, detail=False)):
                found[place.key] = f"no such folder with anything in it: {place.where}"
        except Exception as exc:
            found[place.key] = f"{place.where}: {_said(exc)}"
    return found


def _system(place: str) -> tuple[Any, str]:
    import fsspec

    system, path = fsspec.core.url_to_fs(place)
    return system, str(path).rstrip("/")


def _said(exc: Exception) -> str:
    text = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {text[0]}" if text else type(exc).__name__
