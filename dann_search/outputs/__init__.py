"""Results as pydantic models: what the rooms return, and what commands print with ``--json``.

One description of each result. The rooms build and return these models, commands print them, and
docs/json.md is generated from them. Start with ``registry.py``: which command prints which model.
Imports ``config`` alone.
"""

from dann_search.outputs.registry import OUTPUTS, output_schema, parse_output

__all__ = ["OUTPUTS", "output_schema", "parse_output"]
