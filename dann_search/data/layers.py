"""Whether the folders of a domain are classes, or splits and domains under names of their own."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dann_search.data.split_names import is_split_name
from dann_search.errors import InputError

COMMON = 2
"""So many folders of the same names in all folders are no chance: one may be ``class/images``."""


@dataclass(frozen=True)
class _Layer:
    """Where the images of a folder part into folders, and these; none where images lie there."""

    place: Path
    names: frozenset[str]


def check_no_layer_between(root: Path, files: Iterable[Path]) -> None:
    """See that the folders of ``root`` look like classes.

    Args:
        root: the folder of class folders.
        files: the images below them.

    Raises:
        InputError: it holds a single folder, with folders in it, or all its folders (or those
            named as splits) hold folders of the same names.
    """
    folders: defaultdict[str, set[Path]] = defaultdict(set)
    for folder in {file.parent for file in files}:
        folders[folder.relative_to(root).parts[0]].add(folder)
    layers = {name: _layer(inside) for name, inside in sorted(folders.items())}
    if len(layers) == 1:
        ((name, layer),) = layers.items()
        _refuse_single(root, name, layer)
    named = [name for name in layers if is_split_name(name)]
    for group in (list(layers), named):
        if len(group) > 1:
            common = frozenset.intersection(*(layers[name].names for name in group))
            of = frozenset[str]().union(*(layers[name].names for name in group))
            # Classes may share some folders, by year say; splits and domains share most of theirs.
            if len(common) >= COMMON and 2 * len(common) > len(of):
                raise _not_classes(root, group, common, layers[group[0]].place)


def _layer(folders: set[Path]) -> _Layer:
    """Return the layer of the folders that images lie in directly."""
    place = Path(os.path.commonpath(folders))
    if place in folders:
        return _Layer(place, frozenset())
    return _Layer(place, frozenset(folder.relative_to(place).parts[0] for folder in folders))


def _refuse_single(root: Path, name: str, layer: _Layer) -> None:
    if layer.names:
        raise InputError(
            f"{root}: holds one folder, {name}, with folders in it ({_some(layer.names)}); if "
            f"these are the classes, name {layer.place} instead of {root}; if {name} is the only "
            "class, move its images out of them"
        )


def _not_classes(root: Path, group: list[str], common: Iterable[str], place: Path) -> InputError:
    return InputError(
        f"{root}: its folders {_some(group)} hold folders of the same names ({_some(common)}), as "
        "splits and domains do, not classes. Splits have to be named train, val and test, with no "
        f"other folder beside them; of several domains, name one, such as {place}; if they are "
        "classes, list their images in a manifest, or move them out of the folders within"
    )


def _some(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (" …" if len(shown) > 5 else "")
