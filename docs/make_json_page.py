"""Generate docs/json.md from the models in dann_search.outputs and the texts in docs/json.

python docs/make_json_page.py
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from dann_search.outputs import OUTPUTS
from dann_search.outputs.base import Failure

HERE = Path(__file__).parent
PAGE, EXAMPLES = HERE / "json.md", HERE / "json"
TYPES = {"string": "text"}
SCALAR = {"boolean", "integer", "number", "text"}
HEAD = "| field | type | meaning |\n|---|---|---|"
Node = dict[str, Any]


def page() -> str:
    """Return the whole page."""
    models = [model for each in OUTPUTS.values() for model in each.values()] + [Failure]
    unique = list(dict.fromkeys(models))
    _, schema = models_json_schema([(model, "validation") for model in unique])
    fields = _Fields(schema["$defs"], {model.__name__ for model in unique})
    parts = [(EXAMPLES / "introduction.md").read_text(encoding="utf-8").strip()]
    parts += ["## Failures", *fields.section("Failure", "failures"), *_example("failure")]
    for command, kinds in OUTPUTS.items():
        parts.append(f"## {command}")
        for number, (words, model) in enumerate(kinds.items()):
            parts.append(f"`dann-search {words} --json`")
            parts += fields.section(model.__name__, command)
            parts += [] if number else _example(command)
    parts.append("## Objects that several of them hold")
    for name in sorted(fields.shared):
        parts += [f"### {name}", *fields.section(name, name)]
    return "\n\n".join(parts) + "\n"


def _example(command: str) -> list[str]:
    path = EXAMPLES / f"{command}.json"
    return [f"```json\n{path.read_text(encoding='utf-8').strip()}\n```"] if path.exists() else []


class _Fields:
    """Tables of fields.

    An object that one field alone holds is described in place; one that several hold gets a
    section of its own.

    Args:
        definitions: JSON Schemas by name.
        printed: names of the models that are a command's whole output.
    """

    def __init__(self, definitions: dict[str, Node], printed: set[str]):
        self.definitions = definitions
        self.described: dict[str, str] = {}
        """Title of the section that describes an object, by the object's name."""
        held = Counter(
            name
            for one in definitions.values()
            for node in one["properties"].values()
            for name in {name for name, _ in _held(node)}
        )
        self.shared = {name for name, count in held.items() if count > 1} - printed

    def section(self, name: str, title: str) -> list[str]:
        """Describe an object below this title, or refer to where it was described before."""
        if name in self.described:
            return [f"The same as of [{self.described[name]}](#{self.described[name]})."]
        self.described[name] = title
        node = self.definitions[name]
        words = " ".join(node["description"].split())
        return [_as_markdown(words), "\n".join([HEAD, *self._rows(node, "")])]

    def _rows(self, node: Node, before: str) -> Iterator[str]:
        for name, field in node["properties"].items():
            meaning = _as_markdown(field.get("description", ""))
            yield f"| `{before}{name}` | {self._type(field)} | {meaning} |"
            for inside, step in _held(field):
                if inside not in self.shared and inside not in self.described:
                    yield from self._rows(self.definitions[inside], f"{before}{name}{step}.")

    def _type(self, node: Node) -> str:
        if "$ref" in node:
            name = _named(node)
            anchored = name in self.shared or name in self.described
            title = self.described.get(name, name)
            return f"[{title}](#{title.lower()})" if anchored else "object"
        if "anyOf" in node:
            kinds = list(dict.fromkeys(map(self._type, node["anyOf"])))
            if set(kinds) >= SCALAR:
                kinds = ["value", *(kind for kind in kinds if kind not in SCALAR)]
            return " or ".join(kinds)
        if "const" in node or "enum" in node:
            return " or ".join(f"`{json.dumps(v)}`" for v in node.get("enum", [node.get("const")]))
        if "prefixItems" in node:
            return f"[{', '.join(map(self._type, node['prefixItems']))}]"
        if "items" in node:
            return f"list of {self._type(node['items'])}"
        if isinstance(node.get("additionalProperties"), dict):
            return f"mapping to {self._type(node['additionalProperties'])}"
        kind = str(node.get("type", "anything"))
        return TYPES.get(kind, kind)


def _held(node: Node, step: str = "") -> Iterator[tuple[str, str]]:
    """Yield the names of the objects in a field, each with the path to it: ``[]`` for a list."""
    if "$ref" in node:
        yield _named(node), step
    for option in node.get("anyOf", ()):
        yield from _held(option, step)
    if "items" in node:
        yield from _held(node["items"], f"{step}[]")
    if isinstance(inside := node.get("additionalProperties"), dict):
        yield from _held(inside, f"{step}.NAME")


def _named(node: Node) -> str:
    return str(node["$ref"]).rpartition("/")[2]


def _as_markdown(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
