"""The line of a check, green or red, and the whole diagnosis."""

from collections.abc import Sequence

from dann_search.outputs.cluster import Check, Doctor


def verdict(name: str, node: str, found: str, wrong: str = "", remedy: str = "") -> Check:
    """Return a green check with what was found, or a red one with what is wrong and the remedy."""
    return Check(
        name=name, node=node, ok=not wrong, found=wrong or found, remedy=remedy if wrong else None
    )


def diagnosis(checks: Sequence[Check], not_checked: Sequence[str] = ()) -> Doctor:
    """Return the checks as a whole, which is well if each of them is."""
    ok = all(check.ok for check in checks)
    return Doctor(ok=ok, checks=list(checks), not_checked=list(not_checked))
