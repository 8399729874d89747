"""The keys of a node's settings as the clouds define them: EC2 RunInstances, GCE instances.insert.

A tree has a dict for a section, a list of one for a list, the name of a type for a value, and
``=a|b`` for one of several words. ``ec2.json`` and ``gce.json`` were written from botocore 1.44.8
and from the discovery document of google-api-python-client.
"""

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@cache
def ec2() -> dict[str, Any]:
    """``RunInstances`` and ``IpPermission``, with what an installed botocore has beyond ours."""
    shipped = _read("ec2.json")
    if importlib.util.find_spec("botocore") is None:
        return shipped
    united: dict[str, Any] = unite(shipped, of_botocore())
    return united


@cache
def gce() -> dict[str, Any]:
    """``Instance``."""
    return _read("gce.json")


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return content


def of_botocore() -> dict[str, Any]:
    """The trees that an installed botocore describes."""
    from botocore.loaders import Loader

    shapes = Loader().load_service_model("ec2", "service-2")["shapes"]
    return {name: _tree(shapes, f"{name}{kind}") for name, kind in _SHAPES.items()}


def unite(one: Any, other: Any) -> Any:
    """A tree with the keys and words of both."""
    if isinstance(one, dict) and isinstance(other, dict):
        common = {key: unite(one[key], other[key]) for key in one.keys() & other.keys()}
        return one | other | common
    if isinstance(one, list) and isinstance(other, list):
        return [unite(one[0], other[0])]
    if str(one).startswith("=") and str(other).startswith("="):
        return "=" + "|".join(dict.fromkeys([*one[1:].split("|"), *other[1:].split("|")]))
    return one


_SHAPES = {"RunInstances": "Request", "IpPermission": ""}


def _tree(shapes: dict[str, Any], name: str) -> Any:
    shape = shapes[name]
    if shape["type"] == "structure":
        return {key: _tree(shapes, item["shape"]) for key, item in shape["members"].items()}
    if shape["type"] == "list":
        return [_tree(shapes, shape["member"]["shape"])]
    return f"={'|'.join(shape['enum'])}" if "enum" in shape else shape["type"]
