"""Pages of the site that are generated while it is built, and links to files outside of docs/.

mkdocs calls the ``on_…`` functions (``hooks`` in mkdocs.yml). The files of the repository's root
become pages, so that each text exists once; the reference is generated from the code, so that it
cannot be out of date.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
FROM_ROOT = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
"""Pages that are files of the repository's root."""
KEYS = "<!-- keys -->"
"""Where the page of the experiment file has the tables of its keys."""
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)\s#]+)")
KINDS = {"array": "list", "object": "mapping"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
Node = dict[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    texts = {page: (ROOT / name).read_text("utf-8") for page, name in FROM_ROOT.items()}
    texts |= {"api.md": "# Python\n\n" + "\n\n".join(_directives()), "cli.md": cli_page()}
    for page, text in texts.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, /, *, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to copies on the site; fill in the tables of keys."""
    source = FROM_ROOT.get(page.file.src_uri)
    here = ROOT if source else (ROOT / "docs" / page.file.src_uri).parent

    def place(link: re.Match[str]) -> str:
        path = (here / link[2]).resolve()
        to = _on_site(path, files, config)
        up = "../" * page.file.src_uri.count("/")
        return link[0] if to is None else f"{link[1]}{up}{to}"

    markdown = LINK.sub(place, markdown)
    return markdown.replace(KEYS, "\n\n".join(key_tables())) if KEYS in markdown else markdown


def _on_site(path: Path, files: Files, config: MkDocsConfig) -> str | None:
    """Return where a file of the repository lies on the site, from its root; copy it if needed.

    None where it does not exist: mkdocs then reports the link.
    """
    if not path.is_relative_to(ROOT) or not path.is_file():
        return None
    name = path.relative_to(ROOT).as_posix()
    pages = {source: page for page, source in FROM_ROOT.items()}
    if name in pages:
        return pages[name]
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if (to := f"repository/{name}") not in files.src_uris:
        files.append(File.generated(config, to, abs_src_path=str(path)))
    return to


def _directives() -> Iterator[str]:
    """Yield mkdocstrings' directive for each public name."""
    import dann_search

    for name in dann_search.__all__:
        yield f"::: dann_search.{name}"


def cli_page() -> str:
    """Return the page of commands: what each prints with ``--help``."""
    from typer.main import get_command

    from dann_search.cli.app import app

    group: Any = get_command(app)
    wide = {"resilient_parsing": True, "max_content_width": 100, "terminal_width": 100}
    top = group.make_context("dann-search", [], **wide)
    parts = ["# Command line", _block(group.get_help(top))]
    for name, command in group.commands.items():
        context = command.make_context(name, [], parent=top, **wide)
        parts += [f"## {name}", _block(command.get_help(context))]
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


def key_tables() -> Iterator[str]:
    """Yield a table of keys for each section of the experiment file, from its JSON Schema."""
    from dann_search.config.schema import experiment_schema

    schema = experiment_schema()
    sections = {
        "data": "DataConfig",
        "data.source and data.target": "DomainConfig",
        "data.source.huggingface and data.target.huggingface": "HuggingFaceSet",
        "data.splits and data.source_splits": "SplitsConfig",
        "training": "TrialConfig",
        "search": "SearchConfig",
        "search.budget": "BudgetConfig",
        "search.confirm": "ConfirmConfig",
        "weights.BACKBONE": "WeightsFile",
        "resources": "ResourcesConfig",
    }
    for title, name in sections.items():
        rows = _keys(schema["$defs"][name]).items()
        lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
        lines += [_row(key, node) for key, node in rows]
        yield f"### {title}\n\n" + "\n".join(lines)


def _keys(node: Node) -> Node:
    """Return the keys of an object, or of the one among several forms that has keys."""
    forms: list[Node] = [node, *node.get("anyOf", ()), *node.get("oneOf", ())]
    return next(form["properties"] for form in forms if "properties" in form)


def _row(key: str, node: Node) -> str:
    default = node.get("default")
    simple = isinstance(default, bool | int | float | str)
    shown = f"`{json.dumps(default).strip(chr(34))}`" if simple else ""
    meaning = node.get("description", "").replace("|", "\\|")
    return f"| `{key}` | {_value(node)} | {shown} | {meaning} |"


def _value(node: Node) -> str:
    """Describe what may be written: a kind with its bounds, or the values there are."""
    if options := node.get("anyOf") or node.get("oneOf"):
        kinds = [_value(option) for option in options if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in node or "const" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    types = node.get("type", "object")
    kind: str = types[0] if isinstance(types, list) else types  # "3" is accepted for 3, too
    if kind in ("integer", "number"):
        return " ".join(
            [kind, *(f"{BOUNDS[name]} {node[name]}" for name in BOUNDS if name in node)]
        )
    if kind == "string":
        return "path" if node.get("format") == "path" else "URL" if "pattern" in node else "text"
    return KINDS.get(kind, kind)
