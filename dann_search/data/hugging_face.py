"""Which columns of a ``datasets.Dataset`` hold images and labels. Needs the extra ``hf``."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dann_search.data.manifest import LIKE
from dann_search.errors import InputError

LABEL = "label"


class Pairs:
    """Images and labels of a ``datasets.Dataset``; images are the bytes of their files."""

    def __init__(self, rows: Any, image: str, label: str | None):
        self.rows, self.image, self.label = rows, image, label

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[bytes, Any]:
        row = self.rows[number]
        image = row[self.image]
        if image is None:
            raise ValueError(f"it has no image (column {self.image})")
        content = image["bytes"]
        if content is None:  # the data set names a file outside of it
            content = Path(image["path"]).read_bytes()
        return content, row[self.label] if self.label else None


def as_pairs(rows: Any) -> tuple[Pairs, Sequence[str] | None]:
    """Find the images and labels of a ``datasets.Dataset``, and its class names if it has any.

    Images are in the one column of kind ``Image``, as they are stored: without a transform that was
    set. Labels are in the column ``label``, or else in the one column of kind ``ClassLabel``;
    without such columns there are none.

    Raises:
        InputError: there is no such column, or more than one.
    """
    from datasets import ClassLabel, Image

    kinds = rows.features
    images = [name for name, kind in kinds.items() if isinstance(kind, Image)]
    if len(images) != 1:
        raise InputError(
            f"datasets.Dataset: expected one column of images, got {', '.join(images) or 'none'} "
            f"of {', '.join(kinds)}; remove the others (remove_columns), or cast one to "
            "datasets.Image (cast_column)"
        )
    label = _label_column(kinds, ClassLabel)
    columns = [images[0], *([label] if label else [])]
    rows = rows.with_format(None).select_columns(columns)
    names = kinds[label].names if label and isinstance(kinds[label], ClassLabel) else None
    return Pairs(rows.cast_column(images[0], Image(decode=False)), images[0], label), names


def _label_column(kinds: Mapping[str, Any], class_label: type) -> str | None:
    found = [name for name, kind in kinds.items() if isinstance(kind, class_label)]
    if LABEL in kinds or len(found) == 1:
        return LABEL if LABEL in kinds else found[0]
    alike = [name for name in kinds if get_close_matches(name.casefold(), LIKE[LABEL], cutoff=0.75)]
    if found or alike:
        raise InputError(
            f"datasets.Dataset: the labels may be in {' or '.join(found or alike)}; say so with "
            "'label' in an experiment file, or rename_column(…, 'label')"
        )
    return None
