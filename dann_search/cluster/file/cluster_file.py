"""A launcher's file as the checks see it: node types, commands, images, whatever else is wrong."""

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from dann_search.cluster.file.machines import Machine, aws_machine, gcp_machine
from dann_search.config.source import KeyPath, SourceFile


@dataclass(frozen=True)
class Command:
    """A shell command and where it stands."""

    path: KeyPath
    text: str

    @cached_property
    def words(self) -> list[str]:
        """As a shell divides it, roughly: quotes are read, nothing is expanded."""
        lexer = shlex.shlex(self.text, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            return list(lexer)
        except ValueError:
            return self.text.split()

    @property
    def starts_ray(self) -> bool:
        """Whether it is a ``ray start``."""
        pairs = zip(self.words, self.words[1:], strict=False)
        return any(PurePosixPath(a).name == "ray" and b == "start" for a, b in pairs)

    def option(self, name: str) -> str | None:
        """The value of ``--name=value`` or ``--name value``."""
        for index, word in enumerate(self.words):
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
            if word == name:
                return "".join(self.words[index + 1 : index + 2])
        return None


@dataclass(frozen=True)
class NodeType:
    """One of ``available_node_types``."""

    name: str
    content: dict[str, Any]
    is_head: bool
    provider: str

    @property
    def path(self) -> KeyPath:
        """Where it stands."""
        return ("available_node_types", self.name)

    @property
    def settings(self) -> dict[str, Any]:
        """What the cloud is asked for."""
        return section(self.content, "node_config")

    @cached_property
    def machine(self) -> Machine | None:
        """What its machine type has, where the name tells."""
        if self.provider == "aws" and "InstanceType" in self.settings:
            return aws_machine(str(self.settings["InstanceType"]))
        if self.provider == "gcp" and "machineType" in self.settings:
            added = self.settings.get("guestAccelerators")
            counts = [a.get("acceleratorCount", 0) for a in _dicts(added)]
            return gcp_machine(str(self.settings["machineType"]), sum(map(_whole, counts)))
        return None

    @property
    def cpus(self) -> int | None:
        """CPUs that Ray counts on; None where it cannot be told."""
        return self._amount("CPU", self.machine.cpus if self.machine else None)

    @property
    def gpus(self) -> int | None:
        """GPUs that Ray counts on; None where it cannot be told."""
        return self._amount("GPU", self.machine.gpus if self.machine else None)

    @property
    def accelerators(self) -> set[str] | None:
        """Kinds of its GPUs by Ray's names; None where it cannot be told."""
        marked = [name for name in section(self.content, "resources") if ":" in str(name)]
        found = {str(name).partition(":")[2] for name in marked}
        if self.provider != "aws":
            return found
        if self.machine is None:
            return found or None
        return found | ({self.machine.accelerator} if self.machine.accelerator else set())

    def _amount(self, resource: str, detected: int | None) -> int | None:
        stated = section(self.content, "resources").get(resource)
        if isinstance(stated, int):
            return stated
        # Ray asks EC2 what a machine has, and nobody else; a head looks at itself.
        return detected if self.provider == "aws" or self.is_head else 0

    @property
    def is_spot(self) -> bool:
        """Whether the cloud may take its nodes away."""
        if self.provider == "aws":
            return section(self.settings, "InstanceMarketOptions").get("MarketType") == "spot"
        rules = self.settings.get("scheduling")
        return any(
            rule.get("preemptible") is True or rule.get("provisioningModel") == "SPOT"
            for rule in _dicts(rules if isinstance(rules, list) else [rules])
        )

    @property
    def disk_gib(self) -> int | None:
        """The largest disk it asks for."""
        if self.provider == "aws":
            disks = [section(d, "Ebs") for d in _dicts(self.settings.get("BlockDeviceMappings"))]
            sizes = [disk.get("VolumeSize") for disk in disks]
        else:
            disks = [section(d, "initializeParams") for d in _dicts(self.settings.get("disks"))]
            sizes = [disk.get("diskSizeGb") for disk in disks]
        return max((_whole(size) for size in sizes if size is not None), default=None)


@dataclass(frozen=True)
class ClusterFile:
    """The whole file."""

    source: SourceFile

    @property
    def content(self) -> dict[str, Any]:
        """Plain."""
        return self.source.content

    @property
    def provider(self) -> str:
        """Its type."""
        return str(section(self.content, "provider").get("type"))

    @property
    def docker(self) -> dict[str, Any]:
        """Settings of the container; empty where there is none."""
        found = section(self.content, "docker")
        named = (found.get(key) for key in ("image", "head_image", "worker_image"))
        return found if any(named) else {}

    @cached_property
    def types(self) -> list[NodeType]:
        """All node types, the head's among them."""
        head, found = self.content.get("head_node_type"), self.content.get("available_node_types")
        return [
            NodeType(name, content, name == head, self.provider)
            for name, content in (found.items() if isinstance(found, dict) else ())
            if isinstance(content, dict)
        ]

    @property
    def head(self) -> NodeType | None:
        """The head's type."""
        return next((node_type for node_type in self.types if node_type.is_head), None)

    @property
    def workers(self) -> list[NodeType]:
        """Types that nodes are added of."""
        most = self.content.get("max_workers", 2)
        return [t for t in self.types if not t.is_head and t.content.get("max_workers", most) != 0]

    def commands(self, *path: str) -> list[Command]:
        """A list of commands at a key of the file."""
        node: Any = self.content
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        items = node if isinstance(node, list) else []
        return [Command((*path, n), text) for n, text in enumerate(items) if isinstance(text, str)]

    @property
    def head_setup(self) -> list[Command]:
        """What sets up the head."""
        return [*self.commands("setup_commands"), *self.commands("head_setup_commands")]

    def worker_setup(self, node_type: NodeType | None) -> list[Command]:
        """What sets up a worker of a type; of any where there are no types."""
        if node_type is not None and "worker_setup_commands" in node_type.content:
            return self.commands(*map(str, node_type.path), "worker_setup_commands")
        return [*self.commands("setup_commands"), *self.commands("worker_setup_commands")]

    @property
    def all_commands(self) -> list[Command]:
        """Every command of the file."""
        keys = [key for key in self.content if key.endswith("_commands")]
        common = [command for key in keys for command in self.commands(key)]
        own = [
            command
            for node_type in self.types
            for key in ("initialization_commands", "worker_setup_commands")
            for command in self.commands(*map(str, node_type.path), key)
        ]
        return [*common, *own]

    @property
    def head_image(self) -> tuple[KeyPath, str] | None:
        """The container's image on the head, and where it stands."""
        return self._image("head_image")

    def worker_image(self, node_type: NodeType | None) -> tuple[KeyPath, str] | None:
        """The container's image on workers of a type, and where it stands."""
        own = section(node_type.content, "docker") if node_type is not None else {}
        if node_type is not None and own.get("worker_image"):
            return (*node_type.path, "docker", "worker_image"), str(own["worker_image"])
        return self._image("worker_image")

    def _image(self, first: str) -> tuple[KeyPath, str] | None:
        for key in (first, "image"):
            if self.docker.get(key):
                return ("docker", key), str(self.docker[key])
        return None

    def worker_options(self, node_type: NodeType | None) -> list[str]:
        """Options that containers of workers of a type are started with."""
        own = section(node_type.content, "docker") if node_type is not None else {}
        lists = [self.docker.get("run_options"), self.docker.get("worker_run_options")]
        lists.append(own.get("worker_run_options"))
        return [str(option) for items in lists if isinstance(items, list) for option in items]


def section(content: Any, key: str) -> dict[str, Any]:
    """A section by its key; empty where there is none."""
    found = content.get(key) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else 0
