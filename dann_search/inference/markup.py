"""Text from users that stays text in Markdown and LaTeX."""

import re

LATEX = {
    "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "\\": r"$\backslash$", "^": r"\^{}", "~": r"\~{}", "<": "$<$", ">": "$>$", "|": "$|$",
    "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip
"""What LaTeX reads as something else; ``[`` and ``*`` only at the beginning of a table's row."""


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, in a table's cell too.

    ``$`` begins a formula on some pages, ``&`` a character's name. ``a_b`` is safe as it stands.
    """
    return re.sub(r"([\\`*\[\]<>|$&~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", one_line(text))


def escape_latex(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    escaped = "".join(LATEX.get(character, character) for character in one_line(text))
    # A hyphen before a figure is a minus.
    return re.sub(r"(?<![\w])-(?=\d)", "$-$", escaped).replace("±", r"$\pm$")


def one_line(text: str) -> str:
    """Return text without line breaks and tabs, which end a row or a cell."""
    return " ".join(text.split())
