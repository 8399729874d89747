"""A cluster launcher's file as the checks see it: node types, commands, containers, findings."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from dann_search.config.source import KeyPath, SourceFile
from dann_search.outputs.cluster import Finding

CLOUDS = ("aws", "gcp")
TYPES = "available_node_types"
RAY_START = re.compile(r"(?<![\w.-])ray\s+start\b")


@dataclass(frozen=True)
class Command:
    """A shell command, or an option of ``docker run``, and its place in the file."""

    path: KeyPath
    text: str

    def option(self, name: str) -> str | None:
        """Return the value of ``--name=value`` or ``--name value``."""
        found = re.search(rf"(?<!\S){name}[=\s]+[\"']?([^\s\"';&|]+)", self.text)
        return found[1] if found else None


@dataclass(frozen=True)
class NodeType:
    """One of ``available_node_types``."""

    name: str
    content: dict[str, Any]
    provider: str
    is_head: bool

    @property
    def path(self) -> KeyPath:
        """Its place in the file."""
        return (TYPES, self.name)

    @property
    def has_own_setup(self) -> bool:
        """Whether it has set-up commands of its own instead of the common ones."""
        return not self.is_head and "worker_setup_commands" in self.content

    def amount(self, resource: str) -> float | None:
        """Return the declared amount of a resource; None if Ray finds it out by itself."""
        stated = section(self.content, "resources").get(resource)
        if isinstance(stated, int | float):
            return stated
        # Ray asks EC2 for what a machine has, but no other cloud.
        return None if self.provider == "aws" or resource == "memory" else 0

    @property
    def accelerators(self) -> list[str] | None:
        """Kinds of its GPUs by Ray's names; None if Ray finds them out by itself."""
        resources = section(self.content, "resources")
        kinds = [str(name).partition(":")[2] for name in resources if ":" in str(name)]
        return kinds or (None if self.provider == "aws" else [])

    @property
    def is_spot(self) -> bool:
        """Whether the cloud may take its nodes away."""
        settings = section(self.content, "node_config")
        if self.provider == "aws":
            return section(settings, "InstanceMarketOptions").get("MarketType") == "spot"
        rules = section(settings, "scheduling")
        return rules.get("preemptible") is True or rules.get("provisioningModel") == "SPOT"


@dataclass(frozen=True)
class LauncherFile:
    """The whole file."""

    source: SourceFile

    @property
    def content(self) -> dict[str, Any]:
        """Its plain content."""
        return self.source.content

    @property
    def provider(self) -> str:
        """``aws``, ``gcp``, ``local`` or another of Ray's providers."""
        return str(section(self.content, "provider").get("type"))

    @cached_property
    def types(self) -> list[NodeType]:
        """All node types."""
        head, found = self.content.get("head_node_type"), section(self.content, TYPES)
        named = [(name, one) for name, one in found.items() if isinstance(one, dict)]
        return [NodeType(str(name), one, self.provider, name == head) for name, one in named]

    @property
    def head(self) -> NodeType:
        """The head's type; an empty one for machines listed by their addresses."""
        heads = (node_type for node_type in self.types if node_type.is_head)
        return next(heads, NodeType("head", {}, self.provider, is_head=True))

    @property
    def workers(self) -> list[NodeType]:
        """Types of which workers are started."""
        most = self.content.get("max_workers", 2)
        return [t for t in self.types if not t.is_head and t.content.get("max_workers", most) != 0]

    @property
    def a_worker(self) -> NodeType | None:
        """The first type of workers; None for machines listed by their addresses."""
        return next(iter(self.workers), None)

    def texts(self, *path: str) -> list[Command]:
        """Return the commands or options listed at a key."""
        node: Any = self.content
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        items = node if isinstance(node, list) else []
        return [Command((*path, n), text) for n, text in enumerate(items) if isinstance(text, str)]

    @property
    def commands(self) -> list[Command]:
        """All commands of the file."""
        keys: list[tuple[str, ...]] = [(str(key),) for key in self.content]
        keys += [(TYPES, t.name, str(key)) for t in self.types for key in t.content]
        return [c for key in keys if key[-1].endswith("_commands") for c in self.texts(*key)]

    def starts(self, role: Literal["head", "worker"]) -> list[Command]:
        """Return the commands that start Ray on the head or on workers."""
        return [c for c in self.texts(f"{role}_start_ray_commands") if RAY_START.search(c.text)]

    def setup(self, node_type: NodeType | None) -> list[Command]:
        """Return the commands that set up a node of a type; None stands for any worker."""
        if node_type and node_type.has_own_setup:
            return self.texts(TYPES, node_type.name, "worker_setup_commands")
        return [
            *self.texts("setup_commands"),
            *self.texts(f"{self._role(node_type)}_setup_commands"),
        ]

    def options(self, node_type: NodeType | None) -> list[Command]:
        """Return the options that containers of a type are started with."""
        role = self._role(node_type)
        keys: list[tuple[str, ...]] = [("docker", "run_options"), ("docker", f"{role}_run_options")]
        if node_type is not None:
            keys.append((TYPES, node_type.name, "docker", "worker_run_options"))
        return [option for key in keys for option in self.texts(*key)]

    def image(self, node_type: NodeType | None) -> Command | None:
        """Return the container image of a type; None if it runs without a container."""
        docker = section(self.content, "docker")
        keys = [("docker", f"{self._role(node_type)}_image"), ("docker", "image")]
        images: list[tuple[KeyPath, Any]] = [(key, docker.get(key[1])) for key in keys]
        if node_type is not None:
            own = section(node_type.content, "docker").get("worker_image")
            images.insert(0, ((*node_type.path, "docker", "worker_image"), own))
        return next((Command(path, str(name)) for path, name in images if name), None)

    def _role(self, node_type: NodeType | None) -> str:
        return "head" if node_type is not None and node_type.is_head else "worker"

    def error(self, path: KeyPath, message: str, source: SourceFile | None = None) -> Finding:
        """Report what will not work, or lets strangers in, in this file or another."""
        return _finding("error", source or self.source, path, message)

    def warning(self, path: KeyPath, message: str, source: SourceFile | None = None) -> Finding:
        """Report what costs time or money without need, in this file or another."""
        return _finding("warning", source or self.source, path, message)


def _finding(
    severity: Literal["error", "warning"], source: SourceFile, path: KeyPath, message: str
) -> Finding:
    """Place a finding at its key, or at the nearest parent that the file has."""
    parents = [path[:length] for length in range(len(path), 0, -1)]
    origin = next((source.overridden[one] for one in parents if one in source.overridden), None)
    place = next((source.lines[one] for one in parents if one in source.lines), None)
    file, line = (place.file, place.line) if place else (source.name, None)
    return Finding(
        severity=severity,
        file=file,
        line=line,
        key=".".join(map(str, path)),
        message=f"{origin}: {message}" if origin else message,
    )


def section(content: Any, key: str) -> dict[str, Any]:
    """Return a section by its key; empty if there is none."""
    found = content.get(key) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}
