"""The map of the house is kept true."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(ROOT / "dann_search")
    for path in (ROOT / "dann_search").rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)
IN_SHORT = ("cli", "outputs", "figures", "methods", "validators", "keys")
"""Folders whose files the map names together."""


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_is_on_the_map(module: Path) -> None:
    words = (ROOT / "docs" / "structure.md").read_text()
    name = f"{module.parent.name}/" if module.parent.name in IN_SHORT else module.name
    assert name in words
