"""Images that are in two places at once, and what that does to the figures."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dann_search.config.source import SettingError
from dann_search.data.domain import NO_LABEL, Domain
from dann_search.data.splits import Splits
from dann_search.errors import counted

SHOWN = 3


def content_groups(keys: Sequence[str]) -> NDArray[np.int64] | None:
    """Number images by their content, copies alike, shape (n,); None where no two are alike."""
    contents, groups = np.unique(np.array(keys), return_inverse=True)
    return groups.astype(np.int64) if len(contents) < len(keys) else None


def without_conflicts(
    domains: Mapping[str, Domain], policy: Literal["error", "drop", "keep"]
) -> tuple[dict[str, Domain], list[str]]:
    """Find images that a domain holds under several labels; return the domains and remarks.

    Raises:
        SettingError: there are some, and the policy is ``error``.
    """
    left, remarks = dict(domains), list[str]()
    for role, domain in domains.items():
        if not (conflicts := _conflicts(domain)):
            continue
        shown = "; ".join(
            " and ".join(f"{domain.places[row]} ({domain.class_of(row)})" for row in rows[:SHOWN])
            for rows in conflicts[:SHOWN]
        ) + ("; …" if len(conflicts) > SHOWN else "")
        found = (
            f"{domain.name}: {counted(len(conflicts), 'image carries', 'images carry')} "
            f"several labels, such as {shown}"
        )
        if policy == "error":
            raise SettingError(
                ("data", "conflicting_labels"),
                f"{found}; remove the wrong ones, or leave all of them out: drop, or keep all "
                "of them: keep",
            )
        if policy == "drop":
            dropped = {row for rows in conflicts for row in rows}
            left[role] = domain.subset([n for n in range(len(domain)) if n not in dropped])
            remarks.append(f"{found}; all {len(dropped)} copies are left out")
        else:
            remarks.append(
                f"{found}; they are kept, so no network can name all of them rightly "
                "(data.conflicting_labels: drop leaves them out)"
            )
    return left, remarks


def _conflicts(domain: Domain) -> list[list[int]]:
    """Return the rows of each content under several labels."""
    copies: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(domain.keys):
        if domain.labels[row] != NO_LABEL:
            copies[key].append(row)
    return [rows for rows in copies.values() if len({int(domain.labels[r]) for r in rows}) > 1]


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
                    f"{domains[role].name}: {counted(len(shared), 'image is', 'images are')} in "
                    f"both its {one} and its {other} split, such as {', '.join(places)}"
                )
    source, target = domains["source"], domains["target"]
    rows = {key: row for row, key in enumerate(target.keys)}
    if shared := sorted(set(source.keys) & rows.keys()):
        places = [target.places[rows[key]] for key in shared[:SHOWN]]
        labelled = set(zip(source.keys, source.labels.tolist(), strict=True))
        theirs = zip(target.keys, target.labels.tolist(), strict=True)
        # Where the source has copies under several labels, any of them will do.
        differ = {
            key for key, label in theirs if label != NO_LABEL and (key, label) not in labelled
        }.intersection(shared)
        remarks.append(
            f"{counted(len(shared), 'image is', 'images are')} in both {source.name} and "
            f"{target.name}, such as {', '.join(places)}"
            + (f"; {len(differ)} of them under other labels" if differ else "")
        )
    return remarks
