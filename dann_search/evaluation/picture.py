"""Settings for every Matplotlib picture: no text is markup, and fonts have its letters."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

SHOWN_LETTERS = 10


@contextmanager
def picture_style(texts: Iterable[str] = ()) -> Iterator[str]:
    """Draw and save pictures inside this context to show text literally.

    Args:
        texts: text from users, such as class names. Letters that Matplotlib's default font lacks,
            Chinese ones for instance, are looked up in the installed fonts.

    Yields:
        A remark on letters that no installed font has, or an empty string.
    """
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        families, lacking = _fallbacks(set("".join(texts)))
        matplotlib.rcParams.update(
            {
                # A class may be called "$5", which is not a formula.
                "text.parse_math": False,
                "text.usetex": False,
                "font.family": [*matplotlib.rcParams["font.family"], *families],
            }
        )
        # The remark says it once; Matplotlib would for every letter.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield _remark(lacking)


def _fallbacks(letters: set[str]) -> tuple[list[str], set[str]]:
    """Return font families for letters that the current font lacks, and letters that none has."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    wanted = {letter for letter in letters if letter.isprintable() and not letter.isspace()}
    lacking, families = wanted - _letters_of(findfont(FontProperties())), []
    for font in fontManager.ttflist if lacking else ():
        # Fonts of last resort have a box for every letter.
        if font.style != "normal" or font.weight != 400 or "LastResort" in font.fname:
            continue
        if found := lacking & _letters_of(font.fname):
            families.append(font.name)
            lacking -= found
    return families, lacking


def _letters_of(path: str) -> set[str]:
    """Return the letters of a font file, or none if Matplotlib cannot draw with it."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(path)
        return {chr(code) for code in font.get_charmap()} if font.scalable else set()
    except (OSError, RuntimeError):  # a bitmap font, such as coloured emoji
        return set()


def _remark(lacking: set[str]) -> str:
    if not lacking:
        return ""
    shown = "".join(sorted(lacking)[:SHOWN_LETTERS]) + "…" * (len(lacking) > SHOWN_LETTERS)
    return (
        f"no font installed here has the letters {shown}: the picture shows boxes in their place; "
        "install one that has, such as Noto Sans CJK for Chinese, Japanese and Korean"
    )
