"""Every key at every level against those that somebody reads, and values of the wrong kind."""

from typing import Any

from dann_search.cluster.file.finding import Notes
from dann_search.cluster.file.keys import clouds
from dann_search.cluster.file.keys.launcher import (
    GONE,
    LAUNCHER,
    NODE_TYPE,
    OTHER_PROVIDERS,
    PROVIDERS,
)
from dann_search.config.messages import shown
from dann_search.config.source import KeyPath
from dann_search.errors import nearest

RAY_FILLS_IN = {"SubnetIds": ["string"]}
"""Not a key of RunInstances: Ray takes it and asks for one subnet after the other."""

TEMPLATE = {"sourceInstanceTemplate": "string"}
"""Likewise a parameter of instances.insert beside the instance itself."""

NOT_RESOURCES = {"cpu": "CPU", "cpus": "CPU", "num_cpus": "CPU", "gpu": "GPU", "gpus": "GPU"}


def check_structure(notes: Notes) -> None:
    """Unknown keys and values of the wrong kind, from the top level to the nodes' settings."""
    content = notes.source.content
    provider = content.get("provider")
    kind = provider.get("type") if isinstance(provider, dict) else None
    known = LAUNCHER | ({"min_workers": "integer"} if kind == "local" else {})
    for key in content:
        if key in GONE and key not in known:
            notes.error((key,), f"Ray has no such key any more; {GONE[key]}")
    walk({k: v for k, v in content.items() if k not in GONE or k in known}, known, (), notes, True)
    _check_provider(provider, notes)
    types = content.get("available_node_types")
    if types is None:
        return
    if not isinstance(types, dict):
        notes.error(("available_node_types",), f"must be node types by name, got {shown(types)}")
        return
    if not types:
        notes.error(("available_node_types",), "is empty: name the head's type and a worker's")
        return
    head = content.get("head_node_type")
    if not isinstance(head, str) or head not in types:
        wrong = "is missing" if head is None else f"no node type is called {shown(head)}"
        notes.error(("head_node_type",), f"{wrong}; {nearest(head, types)}")
    settings = _settings(kind)
    for name, node_type in types.items():
        path: KeyPath = ("available_node_types", name)
        walk(node_type, NODE_TYPE, path, notes, strict=True)
        if isinstance(node_type, dict):
            if settings is not None and "node_config" in node_type:
                strict = kind == "aws"
                walk(node_type["node_config"], settings, (*path, "node_config"), notes, strict)
            _check_resources(node_type.get("resources"), (*path, "resources"), notes)


def _settings(kind: Any) -> dict[str, Any] | None:
    if kind == "aws":
        return {**clouds.ec2()["RunInstances"], **RAY_FILLS_IN}
    if kind == "gcp":
        return {**clouds.gce()["Instance"], **TEMPLATE}
    return None


def _check_provider(provider: Any, notes: Notes) -> None:
    path: KeyPath = ("provider",)
    if not isinstance(provider, dict):
        wrong = "is missing" if provider is None else f"must be a section, got {shown(provider)}"
        notes.error(
            path, f"{wrong}; it names the cloud: provider: {{type: aws, region: us-west-2}}"
        )
        return
    kind = provider.get("type")
    if not isinstance(kind, str) or kind not in PROVIDERS:
        if kind in OTHER_PROVIDERS:
            notes.warning(
                (*path, "type"),
                f"the settings of {kind} are not known here: only Ray's own validation reads them",
            )
        else:
            valid = (*PROVIDERS, *OTHER_PROVIDERS)
            notes.error((*path, "type"), f"unknown value {shown(kind)}; {nearest(kind, valid)}")
        return
    walk(provider, PROVIDERS[kind], path, notes, strict=True)
    rules = provider.get("security_group")
    if isinstance(rules, dict) and "IpPermissions" in rules:
        where = (*path, "security_group", "IpPermissions")
        walk(rules["IpPermissions"], [clouds.ec2()["IpPermission"]], where, notes, strict=True)


def _check_resources(resources: Any, path: KeyPath, notes: Notes) -> None:
    if not isinstance(resources, dict):
        return
    for name, amount in resources.items():
        if (right := NOT_RESOURCES.get(str(name).lower())) and name != right:
            notes.error((*path, name), f"unknown resource {shown(name)}; did you mean '{right}'?")
        elif not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
            notes.error((*path, name), f"must be a whole number, got {shown(amount)}")


def walk(value: Any, tree: Any, path: KeyPath, notes: Notes, strict: bool = False) -> None:
    """Hold a value against a tree of keys.

    Args:
        value: what stands at ``path``.
        tree: see ``keys.clouds``; ``any`` is not looked into.
        path: of the value.
        notes: told what is wrong.
        strict: whether a number is no text, as for boto.
    """
    if tree == "any" or value is None:
        return
    if isinstance(tree, dict):
        # Ray's own examples for GCP write a list of single settings where a section belongs.
        if isinstance(value, list) and path[-1:] == ("scheduling",):
            for index, item in enumerate(value):
                walk(item, tree, (*path, index), notes, strict)
        elif not isinstance(value, dict):
            notes.error(path, f"must be a section with keys, got {shown(value)}")
        else:
            for key, item in value.items():
                if key not in tree:
                    notes.unknown((*path, key), list(tree))
                else:
                    walk(item, tree[key], (*path, key), notes, strict)
    elif isinstance(tree, list):
        if not isinstance(value, list):
            notes.error(path, f"must be a list, got {shown(value)}")
        else:
            for index, item in enumerate(value):
                walk(item, tree[0], (*path, index), notes, strict)
    else:
        _check_value(value, tree, path, notes, strict)


def _check_value(value: Any, kind: str, path: KeyPath, notes: Notes, strict: bool) -> None:
    if isinstance(value, dict | list):
        notes.error(path, f"must be a single value, got {shown(value)}")
    elif kind.startswith("="):
        words = kind[1:].split("|")
        if value not in words:
            # New machines appear every month: a name that we do not know may be one.
            report = notes.warning if path[-1] == "InstanceType" else notes.error
            report(path, f"unknown value {shown(value)}; {nearest(value, words)}")
    elif kind == "boolean" and not isinstance(value, bool):
        notes.error(path, f"must be true or false, got {shown(value)}")
    elif kind == "integer" and (not isinstance(value, int) or isinstance(value, bool)):
        notes.error(path, f"must be a whole number, got {shown(value)}")
    elif kind == "string" and not isinstance(value, str) and (strict or isinstance(value, bool)):
        notes.error(path, f"must be text in quotes, got {shown(value)}")
