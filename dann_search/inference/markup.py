"""Escape text from users for Markdown, LaTeX and spreadsheets."""

import re

LATEX = {
    "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "\\": r"$\backslash$", "^": r"\^{}", "~": r"\~{}", "<": "$<$", ">": "$>$", "|": "$|$",
    "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip
"""Characters with a meaning in LaTeX; ``[`` and ``*`` only at the start of a table's row."""


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows literally, also in a table's cell.

    Some renderers read ``$`` as a formula, and ``&`` begins an entity. ``a_b`` needs no escape.
    """
    return re.sub(r"([\\`*\[\]<>|$&~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", one_line(text))


def escape_latex(text: str) -> str:
    """Return text that LaTeX prints literally."""
    escaped = "".join(LATEX.get(character, character) for character in one_line(text))
    # A hyphen before a digit is a minus.
    return re.sub(r"(?<![\w])-(?=\d)", "$-$", escaped).replace("±", r"$\pm$")


def for_sheet(text: str) -> str:
    """Return text that a spreadsheet shows, where it would take it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def one_line(text: str) -> str:
    """Return text without line breaks and tabs, which end a row or a cell."""
    return " ".join(text.split())
