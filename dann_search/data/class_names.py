"""How classes are called: the same name for the same text, whoever wrote it, on one line."""

import unicodedata
from collections.abc import Iterable

from dann_search.errors import printable, some

INVISIBLE = ("Cc", "Zl", "Zp")
"""Unicode's categories of control characters, line and paragraph separators."""
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the direction of the text behind them, out of their cell."""


def class_name(written: str) -> str:
    """Return a class's name as all tables, pages and models have it.

    Accents are composed (NFC), as macOS decomposes those of folders. Control characters, line
    breaks among them, become blanks; blanks around it go. Bytes that are no
    UTF-8 become the sign for that.
    """
    text = unicodedata.normalize("NFC", printable(written))
    return "".join(
        " " if unicodedata.category(one) in INVISIBLE or one in TURNING else one for one in text
    ).strip()


def changed_names(written: Iterable[str]) -> tuple[str, ...]:
    """Return a remark on names that lost characters, if there are any."""
    composed = {one: unicodedata.normalize("NFC", one).strip() for one in written}
    changed = sorted(one for one in composed if class_name(one) != composed[one])
    if not changed:
        return ()
    shown = some(f"{one!a} as '{class_name(one)}'" for one in changed)
    return (f"class names with control characters or undecodable bytes are read: {shown}",)
