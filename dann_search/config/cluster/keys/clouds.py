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
    """``RunInstances`` and ``IpPermission``: those of an installed botocore, which may be newer."""
    if importlib.util.find_spec("botocore") is not None:
        return of_botocore()
    return _read("ec2.json")


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


_SHAPES = {"RunInstances": "Request", "IpPermission": ""}


def _tree(shapes: dict[str, Any], name: str) -> Any:
    shape = shapes[name]
    if shape["type"] == "structure":
        return {key: _tree(shapes, item["shape"]) for key, item in shape["members"].items()}
    if shape["type"] == "list":
        return [_tree(shapes, shape["member"]["shape"])]
    return f"={'|'.join(shape['enum'])}" if "enum" in shape else shape["type"]
