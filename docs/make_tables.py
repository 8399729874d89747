"""Fill the tables of methods.md and search.md from the registries, structure.md from docstrings.

python docs/make_tables.py
"""

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from dann_search.config.extensions import AUGMENTATIONS, METHODS, SAMPLERS, VALIDATORS
from dann_search.config.trial import weighed
from dann_search.models.registry import spec_of

HERE = Path(__file__).parent
PAGES = (HERE / "methods.md", HERE / "search.md", HERE / "structure.md")
PACKAGE = HERE.parent / "dann_search"
FOUNDATION = (
    "vit_small_patch14_dinov2",
    "vit_base_patch14_reg4_dinov2",
    "vit_small_patch16_dinov3",
    "vit_base_patch32_clip_224.openai",
    "vit_base_patch16_siglip_224",
    "convnextv2_tiny",
)
"""Networks of timm that the page on backbones names."""
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def filled(text: str) -> str:
    """Return a page with each of its tables as the registries have it."""
    tables = _tables()
    return TABLE.sub(lambda found: f"{found[1]}{tables[found[2]]}{found[3]}", text)


def _tables() -> dict[str, str]:
    methods = (
        (name, one.term, f"{one.trade_off:g}" if name in weighed() else "", one.source)
        for name, one in METHODS.items()
    )
    validators = ((one.name, one.words, one.source) for one in VALIDATORS.values())
    augmentations = (
        (one.name, one.description, one.unit, f"{one.low:g} to {one.high:g}", f"{one.neutral:g}")
        for one in AUGMENTATIONS.values()
    )
    samplers = ((one.name, one.words) for one in SAMPLERS.values())
    specs = [spec_of(f"timm/{name}") for name in FOUNDATION]
    foundation = (
        (one.name, str(len(one.stages)), f"{one.image_size}", _sides(one.multiple), one.licence)
        for one in specs
    )
    columns = ("backbone", "stages", "native side", "other sides", "licence of the weights")
    return {
        "map": _map(),
        "foundation": _table(columns, foundation),
        "methods": _table(("`method`", "term", "trade-off", "from"), methods),
        "validators": _table(("objective", "what", "from"), validators),
        "augmentations": _table(("key", "what", "unit", "range", "none"), augmentations),
        "samplers": _table(("sampler", "proposes by"), samplers),
    }


def _map() -> str:
    """List the modules of every room, each by the first line of its docstring."""
    rooms = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
    said = (f"### {room.name}/\n\n{_docstring(room)}\n\n{_modules(room)}" for room in rooms)
    return "\n".join(said)


def _modules(room: Path) -> str:
    paths = sorted(room.rglob("*.py"), key=lambda path: (len(path.relative_to(room).parts), path))
    rows = [
        (path.relative_to(room).as_posix(), _docstring(path).splitlines()[0].replace("|", "\\|"))
        for path in paths
        if path.name not in ("__init__.py", "__main__.py")
    ]
    return _table(("module", "what it is for"), rows)


def _docstring(path: Path) -> str:
    """Return what a module, or a package, says of itself, with code in Markdown's quotes."""
    module = path / "__init__.py" if path.is_dir() else path
    said = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return said.replace("``", "`")


def _sides(multiple: int) -> str:
    """Say which sides a backbone takes."""
    return f"multiples of {multiple}" if multiple > 1 else "any"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(head), "|" + "---|" * len(head)]
    lines += [_row((f"`{name}`", *cells)) for name, *cells in rows]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
