"""What pydantic found wrong, in the words of our messages: the rule, then the value found."""

from collections.abc import Sequence
from typing import Any

from dann_search.errors import nearest

SECTION = "a section with keys"
PAIR = "a pair [low, high]"
SCALAR = ("true or false", "a whole number", "a number", "text")
"""Rules of all members of ``parameter.Scalar``: together they say "a single value"."""

RULES = {
    "finite_number": "a finite number",
    "path_type": "a path",
    "tuple_type": PAIR,
    "too_long": PAIR,
    "missing": PAIR,
    "list_type": "a list",
    "too_short": "a list with at least one value",
    "dict_type": SECTION,
    "model_type": SECTION,
    "model_attributes_type": SECTION,
}
FAMILIES = dict(zip(("bool_", "int_", "float_", "string_"), SCALAR, strict=True))
LIMITS = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
}


def describe(errors: Sequence[Any]) -> str:
    """Pydantic's errors about one value, of each member where it is a union, as one sentence."""
    for error in errors:
        if error["type"] == "value_error":
            return str(error["ctx"]["error"])
    first = errors[0]
    if first["type"] == "literal_error" and len(errors) == 1:
        return f"unknown value {shown(first['input'])}; {nearest(first['input'], _options(first))}"
    rules = list(dict.fromkeys(_rule(error) for error in errors))
    if set(SCALAR) <= set(rules):
        rules = ["a single value", *(rule for rule in rules if rule not in SCALAR)]
    return f"must be {' or '.join(rules)}, got {shown(first['input'])}"


def shown(value: object) -> str:
    """Return a value as messages show it: short, and as YAML writes it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print whole numbers of more than 4,300 digits
        return "a huge number"
    return text if len(text) <= 80 else f"{text[:77]}…"


def _rule(error: Any) -> str:
    kind = error["type"]
    if kind in LIMITS:
        return LIMITS[kind].format(**error["ctx"])
    if kind == "literal_error":
        return " or ".join(repr(option) for option in _options(error))
    for family, rule in FAMILIES.items():
        if kind.startswith(family):
            return rule
    return RULES.get(kind, f"valid ({error['msg']})")


def _options(error: Any) -> list[str]:
    expected: str = error["ctx"]["expected"]  # "'a', 'b' or 'c'"
    return [option.strip("'") for option in expected.replace(" or ", ", ").split(", ")]
