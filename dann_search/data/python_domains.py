"""Images and labels of Python objects, one by one: of arrays, torch's sets, Hugging Face's."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dann_search.data.class_names import class_name
from dann_search.data.hugging_face import as_pairs
from dann_search.data.python_images import ImageFile, image_file
from dann_search.data.split_names import splits_by_name
from dann_search.errors import InputError, in_one_line, nearest, some

MISSING = -1
"""The class number that data sets with class names use for "not known"."""
WHAT = (
    "expected images, a pair (images, labels), a torch Dataset, a datasets.Dataset, or a dict of "
    "these by split"
)


@dataclass(frozen=True)
class Item:
    """An image and its class (None without); ``where`` names it in messages."""

    where: str
    split: str | None
    image: ImageFile
    label: str | None


@dataclass(frozen=True)
class DomainPart:
    """A split, or all of a domain: ``read`` gives an image, or (image, label), by its number."""

    what: str
    split: str | None
    count: int
    read: Callable[[int], Any]
    names: Sequence[str] | None

    def items(self) -> Iterator[Item]:
        """Read each image once.

        Raises:
            InputError: one cannot be read, or its label is none.
        """
        for number in range(self.count):
            where = f"{self.what} {number}"
            try:
                item = self.read(number)
            except Exception as exc:
                raise InputError(f"{where}: cannot be read: {in_one_line(exc)}") from exc
            try:
                image, label = _pair(item)
                yield Item(where, self.split, image_file(image), _class_of(label, self.names))
            except ValueError as exc:
                raise InputError(f"{where}: {exc}") from None


def parts_of(data: Any, class_names: Sequence[str] | None) -> list[DomainPart]:
    """Tell the splits of a domain, or the one part that is all of it; no image is read yet.

    Raises:
        InputError: it is no domain, has no images, or as many labels as images.
    """
    if isinstance(data, Mapping):
        splits = splits_by_name(map(str, data))
        if lacking := sorted({"train", "test"} - set(splits.values())):
            raise InputError(
                f"no {' and no '.join(lacking)} split, got {', '.join(splits) or 'none'}; splits "
                "are train, test and, if you have it, val; one data set without splits is divided"
            )
        parts = [
            _part(one, class_names, f"{name} item", splits[str(name)]) for name, one in data.items()
        ]
    else:
        parts = [_part(data, class_names, "item", None)]
    if not any(part.count for part in parts):
        raise InputError("no images")
    return parts


def _part(data: Any, names: Sequence[str] | None, what: str, split: str | None) -> DomainPart:
    module = sys.modules.get("datasets")
    if module is not None and isinstance(data, module.Dataset):
        data, own = as_pairs(data)
        names = names or own
    labels: list[Any] | None = None
    if isinstance(data, tuple):
        if len(data) != 2:
            raise InputError(f"{WHAT}, got a tuple of {len(data)}")
        data, labels = data[0], _listed(data[1])
    numbered = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if not numbered or isinstance(data, str | bytes):
        stream = "; a stream has neither length nor numbers: make a list of it"
        hint = "" if numbered or not hasattr(data, "__iter__") else stream
        raise InputError(f"{WHAT}, got {type(data).__name__}{hint}")
    count, rows = len(data), getattr(data, "iloc", data)  # pandas' [0] is the row called 0
    if labels is None:
        names = _names(names or _own_names(data))
        return DomainPart(what, split, count, lambda number: rows[number], names)
    if len(labels) != count:
        of = f" of the {split} split" if split else ""
        raise InputError(
            f"{count} images{of} and {len(labels)} labels; each image needs one or None"
        )
    given = labels
    return DomainPart(what, split, count, lambda n: (rows[n], given[n]), _names(names))


def _listed(labels: Any) -> list[Any]:
    try:
        return list(labels)
    except TypeError:
        raise InputError(
            f"expected a list of labels, got {type(labels).__name__}; a tuple is a pair (images, "
            "labels), and images without labels are given alone"
        ) from None


def _own_names(data: Any) -> Sequence[str] | None:
    """Return the ``classes`` of torchvision's sets, also of a ``Subset`` of one."""
    while not hasattr(data, "classes") and hasattr(data, "dataset"):
        data = data.dataset
    found = getattr(data, "classes", None)
    return found if isinstance(found, list | tuple) else None


def _names(names: Sequence[str] | None) -> list[str] | None:
    if names is None:
        return None
    found = [class_name(str(name)) for name in names]
    if "" in found or len(set(found)) < len(found):
        raise InputError(f"class names must differ and not be empty, got {some(map(str, names))}")
    return found


def _pair(item: Any) -> tuple[Any, Any]:
    if not isinstance(item, tuple | list):
        return item, None
    if len(item) != 2:
        raise ValueError(
            f"expected an image or (image, label), got a {type(item).__name__} of {len(item)}"
        )
    return item[0], item[1]


def _class_of(label: Any, names: Sequence[str] | None) -> str | None:
    """Return the name of a label's class; None where it is missing.

    Raises:
        ValueError: it is neither a class number nor text.
    """
    shape = getattr(label, "shape", ())
    if len(shape):
        raise ValueError(
            f"expected a class number or text as label, got shape {tuple(shape)}; flatten it "
            "(ravel), or take the argmax of one-hot rows"
        )
    if label is np.ma.masked:  # its number is 0
        return None
    if hasattr(label, "item"):
        label = label.item()
    # pandas.NA is neither equal to itself nor the opposite.
    if label is None or (not isinstance(label, str) and str(label) in ("nan", "<NA>")):
        return None
    if isinstance(label, float) and label.is_integer():  # pandas' where others are missing
        label = int(label)
    if isinstance(label, str):
        if not (name := class_name(label)):
            raise ValueError("its label is empty; give None for images without a label")
        if names and name not in names:
            raise ValueError(f"unknown class '{name}'; {nearest(name, names)}")
        return name
    if isinstance(label, bool) or not isinstance(label, int):
        raise ValueError(f"expected a class number or text as label, got {label!r}")
    if names is None and label < 0:
        raise ValueError(
            f"class numbers are at least 0, got {label}; give None where it is missing"
        )
    if names is None or label == MISSING:
        return None if label == MISSING else str(label)
    if not 0 <= label < len(names):
        raise ValueError(f"class numbers are from 0 to {len(names) - 1}, got {label}")
    return names[label]
