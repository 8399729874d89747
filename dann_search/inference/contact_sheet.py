"""A page to look through what ``predict`` said: thumbnails by class, the least certain first."""

import random
from pathlib import Path

from dann_search.data.domain import Image
from dann_search.inference.gallery import Card, data_uri, write_gallery
from dann_search.outputs.models import FilePrediction

MOST = 2_000
"""Images on a sheet, 8 MB; of more, as many are drawn at random."""


class ContactSheet:
    """Collects thumbnails while images are classified; memory does not grow with their number.

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
