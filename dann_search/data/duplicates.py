"""Images that are in two places at once, and what that does to the figures."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dann_search.data.domain import Domain
from dann_search.data.splits import Splits

SHOWN = 3


def content_groups(keys: Sequence[str]) -> NDArray[np.int64] | None:
    """Number images by their content, copies alike, shape (n,); None where no two are alike."""
    contents, groups = np.unique(np.array(keys), return_inverse=True)
    return groups.astype(np.int64) if len(contents) < len(keys) else None


def duplicate_remarks(domains: Mapping[str, Domain], parts: Mapping[str, Splits]) -> list[str]:
    """Describe each pair of sets that share images and must not, with examples.

    Splits drawn by ratio keep copies together; those a user gave may not.
    """
    sets = {
        (role, split): {domains[role].keys[row]: int(row) for row in rows}
        for role, splits in parts.items()
        for split, rows in splits.items()
    }
    remarks = []
    for role in domains:
        for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
            if shared := sorted(sets[role, one].keys() & sets[role, other].keys()):
                places = [domains[role].places[sets[role, other][key]] for key in shared[:SHOWN]]
                remarks.append(
                    f"{domains[role].name}: {len(shared)} images are in both its {one} and its "
                    f"{other} split, such as {', '.join(places)}"
                )
    source, target = domains["source"], domains["target"]
    rows = {key: row for row, key in enumerate(target.keys)}
    if shared := sorted(set(source.keys) & rows.keys()):
        places = [target.places[rows[key]] for key in shared[:SHOWN]]
        remarks.append(
            f"{len(shared)} images are in both {source.name} and {target.name}, such as "
            f"{', '.join(places)}"
        )
    return remarks
