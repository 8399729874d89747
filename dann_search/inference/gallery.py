"""One HTML page of thumbnails that needs nothing else: wrong predictions, or a contact sheet."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image as PILImage

from dann_search.data.domain import Image
from dann_search.errors import InputError, printable
from dann_search.storage.atomic_file import write_atomically

LARGEST, SMALL = 112, 48
"""Sides in pixels: larger images are reduced to the first; up to the second they stay lossless."""

HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }}
body {{ margin: 1.5rem; }}
div {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; }}
figure {{ margin: 0; overflow-wrap: anywhere; }}
img {{ width: 7rem; height: 7rem; object-fit: contain; image-rendering: {rendering}; }}
figcaption span {{ display: block; font-size: .85rem; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
"""


@dataclass(frozen=True)
class Card:
    """A thumbnail as a data URI, its title, and lines below it."""

    uri: str
    title: str
    lines: tuple[str, ...]


def data_uri(image: Image) -> str:
    """Encode a uint8 image (3, side, side): PNG if it is tiny, else JPEG of at most 112 pixels."""
    picture = PILImage.fromarray(image.transpose(1, 2, 0))
    content = io.BytesIO()
    if picture.width <= SMALL:
        picture.save(content, "PNG", optimize=True)
        kind = "png"
    else:
        picture.thumbnail((LARGEST, LARGEST), PILImage.Resampling.LANCZOS)
        picture.save(content, "JPEG", quality=80, optimize=True)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def write_gallery(
    file: Path, title: str, lead: Sequence[str], sections: Sequence[tuple[str, Sequence[Card]]]
) -> None:
    """Write a page; whatever names hold, they are text there, and no script runs.

    Args:
        file: written anew, or not at all.
        title: heading of the page.
        lead: paragraphs below it.
        sections: headings, which may be empty, with their cards.

    Raises:
        InputError: the file cannot be written.
    """
    tiny = any(card.uri.startswith("data:image/png") for _, cards in sections for card in cards)
    rendering = "pixelated" if tiny else "auto"
    parts = [HEAD.format(title=_text(title), rendering=rendering)]
    parts += [f"<p>{_text(line)}</p>\n" for line in lead]
    for heading, cards in sections:
        if heading:
            parts.append(f"<h2>{_text(heading)}</h2>\n")
        parts += ["<div>\n", *map(_figure, cards), "</div>\n"]
    parts.append("</main>\n</body>\n</html>\n")
    try:
        write_atomically(file, "".join(parts).encode())
    except OSError as exc:
        raise InputError(f"{file}: cannot be written: {exc.strerror}") from None


def _figure(card: Card) -> str:
    lines = "".join(f"<span>{_text(line)}</span>" for line in card.lines)
    alt = _text(f"{card.title}: {card.lines[0]}")
    return (
        f'<figure><img loading="lazy" src="{card.uri}" alt="{alt}">'
        f"<figcaption><b>{_text(card.title)}</b>{lines}</figcaption></figure>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text))
