"""The map of the house is kept true."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(ROOT / "dann_search")
    for path in (ROOT / "dann_search").rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)
IN_SHORT = ("cli", "outputs", "figures", "methods", "validators", "keys")
"""Folders whose files the map names together."""


def test_every_module_is_on_the_map() -> None:
    words = (ROOT / "docs" / "structure.md").read_text()

    def name(module: Path) -> str:
        folder = module.parent.name
        return f"{folder}/" if folder in IN_SHORT else module.name

    assert MODULES and [str(module) for module in MODULES if name(module) not in words] == []
