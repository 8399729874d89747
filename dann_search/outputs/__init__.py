"""Results as pydantic models: what the rooms return, and what commands print with ``--json``.

One description of each result. The rooms build and return these models, commands print them, and
docs/json.md is generated from them. Start with ``registry.py``: which command prints which model.
Imports ``config`` alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dann_search.outputs.registry import OUTPUTS, output_schema, parse_output

__all__ = ["OUTPUTS", "output_schema", "parse_output"]


def __getattr__(name: str) -> Any:
    """Import all models when the list of them is asked for: a command needs its own alone."""
    if name not in __all__:
        raise AttributeError(f"module 'dann_search.outputs' has no attribute '{name}'")
    from dann_search.outputs import registry

    return getattr(registry, name)
