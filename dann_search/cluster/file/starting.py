"""How Ray is started: a head, workers that find it, a store of objects that fits a machine."""

from dann_search.cluster.file.cluster_file import ClusterFile, Command, NodeType
from dann_search.cluster.file.finding import Notes
from dann_search.config.source import KeyPath

PORT = "6379"
"""Of the head where nothing is said."""


def check_starting(file: ClusterFile, notes: Notes) -> None:
    """The commands that start Ray on the head and on workers."""
    heads = _starts(file, "head", "ray start --head …", notes)
    for command in heads:
        if "--head" not in command.words:
            notes.error(command.path, "ray start lacks --head: no head would run")
        if file.types and command.option("--autoscaling-config") is None:
            notes.error(
                command.path,
                "no worker would ever be started: add "
                "--autoscaling-config=~/ray_bootstrap_config.yaml",
            )
    port = next((found for c in heads if (found := c.option("--port"))), PORT)
    workers = _starts(file, "worker", "ray start --address=…", notes)
    for command in workers:
        _check_address(command, port, notes)
    _check_store(heads, [file.head] if file.head else [], notes)
    _check_store(workers, file.workers, notes)


def _starts(file: ClusterFile, role: str, expected: str, notes: Notes) -> list[Command]:
    key = f"{role}_start_ray_commands"
    commands = file.commands(key)
    starts = [command for command in commands if command.starts_ray]
    if not starts:
        where: KeyPath = (key,)
        if commands:
            notes.error(where, f"no command starts Ray: expected '{expected}'")
        elif role == "head" and file.provider in ("aws", "gcp"):
            notes.error(
                where, "is missing: Ray's default opens the dashboard on every address (0.0.0.0)"
            )
    return starts


def _check_address(command: Command, port: str, notes: Notes) -> None:
    address, right = command.option("--address"), f"--address=$RAY_HEAD_IP:{port}"
    if address is None:
        notes.error(
            command.path, f"ray start lacks --address: the worker finds no head; add {right}"
        )
    elif ":" in address and (theirs := address.rpartition(":")[2]) != port:
        notes.error(
            command.path, f"--address: the head listens on port {port}, got {theirs}; write {right}"
        )


def _check_store(starts: list[Command], types: list[NodeType], notes: Notes) -> None:
    memories = [t.machine.memory_gib for t in types if t.machine and t.machine.memory_gib]
    for command in starts if memories else []:
        size = command.option("--object-store-memory") or ""
        if size.isdigit() and int(size) >= min(memories) * 2**30:
            notes.error(
                command.path,
                f"--object-store-memory: must be less than the machine's memory "
                f"({min(memories)} GiB), in bytes, got {size} ({int(size) / 2**30:.0f} GiB)",
            )
