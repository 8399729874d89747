"""What every command prints with ``--json``, as pydantic models: the contract with scripts.

The models describe; what makes the objects are the ``to_json`` methods of the rooms. Tests hold the
one against the other, for every command. docs/json.md is made from the models.
"""

from dann_search.outputs.registry import OUTPUTS, Printed, output_schema, parse_output

__all__ = ["OUTPUTS", "Printed", "output_schema", "parse_output"]
