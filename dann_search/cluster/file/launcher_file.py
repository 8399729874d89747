"""A cluster launcher's file as checks see it: kinds of nodes, commands, containers, findings."""

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
    """A shell command, an option of ``docker run`` or an image, and its place in the file."""

    path: KeyPath
    text: str


@dataclass(frozen=True)
class NodeType:
    """One of ``available_node_types``, or all workers that are listed by their addresses."""

    file: "LauncherFile"
    name: str
    content: dict[str, Any]
    role: Literal["head", "worker"]

    @property
    def path(self) -> KeyPath:
        """Its place in the file."""
        return (TYPES, self.name)

    def amount(self, resource: str) -> float | None:
        """Return the declared amount of a resource; None if Ray finds it out by itself."""
        stated = section(self.content, "resources").get(resource)
        if isinstance(stated, int | float):
            return stated
        # Ray asks EC2 for what a machine has, but no other cloud.
        return None if self.file.provider == "aws" or resource == "memory" else 0

    @property
    def accelerators(self) -> list[str] | None:
        """Kinds of its GPUs by Ray's names; None if Ray finds them out by itself."""
        resources = section(self.content, "resources")
        kinds = [str(name).partition(":")[2] for name in resources if ":" in str(name)]
        return kinds or (None if self.file.provider == "aws" else [])

    @property
    def is_spot(self) -> bool:
        """Whether the cloud may take its nodes away."""
        settings = section(self.content, "node_config")
        if self.file.provider == "aws":
            return section(settings, "InstanceMarketOptions").get("MarketType") == "spot"
        rules = section(settings, "scheduling")
        return rules.get("preemptible") is True or rules.get("provisioningModel") == "SPOT"

    @property
    def setup_keys(self) -> list[KeyPath]:
        """Where commands that set it up are listed: its own stand in for the common ones."""
        own = (*self.path, "worker_setup_commands")
        if self.role == "worker" and own[-1] in self.content:
            return [own]
        return [("setup_commands",), (f"{self.role}_setup_commands",)]

    @property
    def setup(self) -> list[Command]:
        """The commands that set it up."""
        return [command for key in self.setup_keys for command in self.file.texts(key)]

    @property
    def starts(self) -> list[Command]:
        """The commands that start Ray on it."""
        return [
            command
            for command in self.file.texts((f"{self.role}_start_ray_commands",))
            if RAY_START.search(command.text)
        ]

    @property
    def start_key(self) -> KeyPath:
        """Where Ray is started on it, or would be."""
        return next((one.path for one in self.starts), (f"{self.role}_start_ray_commands",))

    @property
    def options(self) -> list[Command]:
        """The options that its containers are started with."""
        keys: list[KeyPath] = [("docker", "run_options"), ("docker", f"{self.role}_run_options")]
        keys.append((*self.path, "docker", "worker_run_options"))
        return [option for key in keys for option in self.file.texts(key)]

    @property
    def image(self) -> Command | None:
        """Its container image; None if it runs without a container."""
        keys: list[KeyPath] = [(*self.path, "docker", "worker_image")]
        keys += [("docker", f"{self.role}_image"), ("docker", "image")]
        return next((Command(key, str(one)) for key in keys if (one := self.file.at(key))), None)


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
    def types(self) -> dict[str, NodeType]:
        """All node types by name."""
        head, types = self.content.get("head_node_type"), section(self.content, TYPES)
        return {
            str(name): NodeType(self, str(name), one, "head" if name == head else "worker")
            for name, one in types.items()
            if isinstance(one, dict)
        }

    @cached_property
    def head(self) -> NodeType:
        """The head's type; an empty one for machines listed by their addresses."""
        heads = (one for one in self.types.values() if one.role == "head")
        return next(heads, NodeType(self, "head", {}, "head"))

    @cached_property
    def workers(self) -> list[NodeType]:
        """Types of which workers are started."""
        most, workers = self.content.get("max_workers", 2), self.types.values()
        return [
            one
            for one in workers
            if one.role == "worker" and one.content.get("max_workers", most) != 0
        ]

    @cached_property
    def nodes(self) -> list[NodeType]:
        """The head and the workers; of machines listed by their addresses, one type of workers."""
        return [self.head, *(self.workers or [NodeType(self, "workers", {}, "worker")])]

    @property
    def commands(self) -> list[Command]:
        """All commands of the file."""
        keys: list[KeyPath] = [(str(key),) for key in self.content]
        keys += [(*one.path, str(key)) for one in self.types.values() for key in one.content]
        return [c for key in keys if str(key[-1]).endswith("_commands") for c in self.texts(key)]

    @property
    def brought(self) -> list[str]:
        """Where the nodes have the files and folders that ``file_mounts`` brings them."""
        return [str(target) for target in section(self.content, "file_mounts")]

    def at(self, path: KeyPath) -> Any:
        """Return what stands at a place; None if nothing does."""
        node: Any = self.content
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        return node

    def texts(self, path: KeyPath) -> list[Command]:
        """Return the commands or options listed at a key."""
        found = self.at(path)
        items = found if isinstance(found, list) else []
        return [Command((*path, n), text) for n, text in enumerate(items) if isinstance(text, str)]

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
    return Finding(
        severity=severity,
        file=place.file if place else source.name,
        line=place.line if place else None,
        key=".".join(map(str, path)),
        message=f"{origin}: {message}" if origin else message,
    )


def section(content: Any, key: Any) -> dict[str, Any]:
    """Return a section by its key; empty if there is none."""
    found = content.get(key) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}
