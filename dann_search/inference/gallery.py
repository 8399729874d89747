"""One HTML page of thumbnails that needs nothing else: wrong predictions, or a contact sheet."""

import base64
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image as PILImage

from dann_search.data.domain import Image
from dann_search.errors import InputError, printable
from dann_search.outputs.models import FilePrediction
from dann_search.storage.atomic_file import write_atomically

LARGEST, SMALL = 112, 48
"""Sides in pixels: larger images are reduced to the first; up to the second they stay lossless."""

MOST = 2_000
"""Images on a sheet, 8 MB; of more, as many are drawn at random."""

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


class ContactSheet:
    """A page to look through what ``predict`` said: by class, the least certain first.

    Thumbnails are collected while images are classified; memory does not grow with their number.

    Args:
        total: images that will come.
        threshold: probability below which they are refused; None refuses none.
    """

    def __init__(self, total: int, threshold: float | None):
        self.total, self.threshold, self.seen = total, threshold, 0
        drawn = range(total) if total <= MOST else random.Random(0).sample(range(total), MOST)
        self.drawn = frozenset(drawn)
        self.cards: list[tuple[str, float, Card]] = []

    def add(self, prediction: FilePrediction, image: Image | None) -> None:
        """Take the next image; one that cannot be read, None, is not shown."""
        drawn = self.seen in self.drawn
        self.seen += 1
        if not drawn or image is None:
            return
        label, probability = prediction.label or "", prediction.probability or 0.0
        card = Card(data_uri(image), label, (f"{probability:.1%}", prediction.path))
        self.cards.append(("" if prediction.refused else label, probability, card))

    def write(self, file: Path) -> None:
        """Write the page.

        Raises:
            InputError: the file cannot be written.
        """
        shown = f"{len(self.cards):,} of {self.total:,} images"
        drawn = ", drawn at random" if self.total > MOST else ""
        order = "By predicted class, the least certain first: class, probability, file."
        sections: dict[str, list[Card]] = {}
        # Refused ones, under "", come first.
        for label, _, card in sorted(self.cards, key=lambda one: one[:2]):
            sections.setdefault(label, []).append(card)
        titled = [
            (f"{label or f'Refused: below {self.threshold:g}'} ({len(cards):,})", cards)
            for label, cards in sections.items()
        ]
        write_gallery(file, "Predictions", [f"{shown}{drawn}. {order}"], titled)
