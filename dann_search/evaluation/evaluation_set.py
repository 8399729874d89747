"""What a model is measured on: the target's test split, or labelled files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dann_search.data.class_names import class_name
from dann_search.data.decode import Preparation, UnreadableImageError
from dann_search.data.domain import NO_LABEL, Domain, Image
from dann_search.data.duplicates import content_groups
from dann_search.data.folder import folder_names, load_class_folders, load_folder_domain
from dann_search.data.manifest import load_manifest_domain
from dann_search.data.split_names import is_split_name
from dann_search.data.store import open_groups, open_images, open_labels
from dann_search.data.walk import images_in
from dann_search.errors import InputError, counted, nearest
from dann_search.inference.batched_logits import (
    batch_size_of,
    decoded_batches,
    stacked,
    stored_batches,
)
from dann_search.inference.model import DannModel

LONGEST_HINT = 300
"""Characters of a list of classes in an error: a model may have hundreds."""


@dataclass(frozen=True)
class EvaluationSet:
    """Labelled images that a model is measured on.

    Attributes:
        split: how the result calls them.
        labels: in the model's numbering, shape (n,).
        batches: the images, to be read once.
        copies: which show one content, as ``content_groups``.
        places: what to call each image, length n.
        read: number of an image -> uint8 array (3, side, side).
    """

    split: str
    labels: NDArray[np.int64]
    batches: Iterator[Tensor]
    copies: NDArray[np.int64] | None
    places: Sequence[str]
    read: Callable[[int], Image]


BY_THE_MODEL = Preparation(grey_bits=16)
"""The model prepares the images by the range that it knows, so none is looked for in them."""


def labelled_images(class_names: list[str], data: Path) -> Domain:
    """Open a folder of class folders, or a manifest, under the class names of a model.

    Of a manifest with splits the rows of its test split count.

    Raises:
        InputError: it holds images without labels, splits, or a class unknown to the model.
    """
    if data.is_file():
        domain = load_manifest_domain(data, how=BY_THE_MODEL)
        splits = domain.splits or ["test"] * len(domain)
        rows = [n for n in range(len(domain)) if splits[n] == "test"]
        rows = [n for n in rows if domain.labels[n] != NO_LABEL]
        if others := len(domain) - len(rows):
            rows_of = counted(others, "row that has", "rows that have")
            remark = f"{data}: skipped {rows_of} no label or another split than test"
            domain = replace(domain.subset(rows), remarks=(*domain.remarks, remark))
        return _numbered(domain, class_names, data)
    names = folder_names(data)
    if bare := images_in(data):
        raise InputError(
            f"{data}: {counted(len(bare), 'image has', 'images have')} no label, such as "
            f"{bare[0]}; evaluating needs a class folder for each. To classify them: dann-search "
            f"predict"
        )
    unknown = set(map(class_name, names)) - set(map(class_name, class_names))
    if unknown and all(map(is_split_name, names)):
        # Together they would include images that trained or chose the model.
        one = min(sorted(names), key=_untrained)
        raise InputError(
            f"{data}: holds splits ({', '.join(sorted(names))}), not class folders; name one of "
            f"them: --data {data / one}"
        )
    if len(unknown) == len(names):
        load_folder_domain(data)  # says which folder to name, if there is one between
    _known(class_names, sorted(map(class_name, names)), data)
    return _numbered(load_class_folders(data, BY_THE_MODEL), class_names, data)


def _numbered(domain: Domain, class_names: list[str], data: Path) -> Domain:
    """Return a domain whose labels are the model's numbers."""
    index = _known(class_names, domain.class_names, data)
    return replace(domain, class_names=tuple(class_names), labels=index[domain.labels])


def _known(class_names: list[str], names: Sequence[str], data: Path) -> NDArray[np.int64]:
    """Return the model's number of each class.

    Raises:
        InputError: one is unknown to the model.
    """
    numbers = {class_name(name): number for number, name in enumerate(class_names)}
    if unknown := [name for name in names if name not in numbers]:
        hint = nearest(unknown[0], class_names)
        shown = f"{hint[:LONGEST_HINT]} …" if len(hint) > LONGEST_HINT else hint
        raise InputError(f"{data}: the class '{unknown[0]}' is none of the model's; {shown}")
    return np.array([numbers[name] for name in names])


def _untrained(split: str) -> int:
    """Rank names of splits by how suitable they are for an evaluation: test, others, train."""
    written = split.casefold()
    return 0 if written.startswith("test") else 2 if written.startswith("train") else 1


def of_files(domain: Domain, model: DannModel, split: str) -> EvaluationSet:
    """Return images of files as what a model is measured on, called ``split``."""
    places = domain.places
    return EvaluationSet(
        split,
        domain.labels,
        file_batches(domain, model),
        content_groups(domain.keys),
        places,
        lambda number: model.read(places[number]),
    )


def file_batches(domain: Domain, model: DannModel) -> Iterator[Tensor]:
    """Yield images of files in batches as the model expects them, shape (m, 3, side, side).

    Raises:
        UnreadableImageError: an image cannot be decoded.
    """
    for batch in decoded_batches(domain.places, model.read, batch_size_of(model)):
        for _, image in batch:
            if isinstance(image, UnreadableImageError):
                raise image
        yield stacked(image for _, image in batch if not isinstance(image, Exception))


def of_test_split(store: Path, model: DannModel) -> EvaluationSet:
    """Return the target's test split of a packed store as what a model is measured on."""
    labels = open_labels(store, "target", "test")
    # The store does not keep the names of files.
    places = [f"test image {number}" for number in range(len(labels))]
    batches = stored_batches(store, "target", "test", model.image_size)
    copies = open_groups(store, "target", "test")
    stored = open_images(store, "target", "test")
    return EvaluationSet("test", labels, batches, copies, places, lambda number: stored[number])
