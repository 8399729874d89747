"""Open the domains that a config names, under one list of classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dann_search.config.data import EMBEDDED, NEEDS_LABELS, NO_CLASSES, DataConfig, DomainConfig
from dann_search.config.source import SettingError
from dann_search.data.class_names import class_name
from dann_search.data.decode import Preparation
from dann_search.data.digits import load_digits_domain
from dann_search.data.domain import NO_LABEL, Domain, Image
from dann_search.data.few_labels import check_classes, with_few_alone
from dann_search.data.folder import (
    load_bare_folder,
    load_class_folders,
    load_folder_domain,
    load_unlabelled,
)
from dann_search.data.hub import local_dataset
from dann_search.data.image_pixels import Transparency
from dann_search.data.manifest import load_manifest_domain
from dann_search.data.remote import local_copy, local_manifest
from dann_search.data.target_has_labels import SAY_SO, target_has_labels
from dann_search.data.torchvision_sets import load_torchvision_domain
from dann_search.errors import InputError, counted, nearest, some


@dataclass(frozen=True)
class DomainPair:
    """Source and target under the same class names, and what was decided to get there."""

    source: Domain
    target: Domain
    remarks: tuple[str, ...]

    @property
    def by_role(self) -> dict[str, Domain]:
        """The domains by their roles."""
        return {"source": self.source, "target": self.target}


def open_pair(config: DataConfig, cache: Path) -> DomainPair:
    """Open source and target; copies of what lies behind URLs are in the folder ``cache``.

    The classes of a target without labels are those of the source.

    Raises:
        InputError: a domain cannot be opened, a source has images without labels, or the classes
            differ and ``shared_classes_only`` does not say to continue.
    """
    seen = config.transparency
    source = combine([open_domain(one, cache, transparency=seen) for one in config.sources])
    target = _open_target(config.target, cache, seen)
    if (bare := np.flatnonzero(source.labels == NO_LABEL)).size:
        raise InputError(
            f"domain {source.name}: {counted(len(bare), 'image has', 'images have')} no label, "
            f"the first is {source.places[bare[0]]}; every source image needs one"
        )
    remarks = source.remarks + target.remarks
    if not target.labelled:
        if config.shared_classes_only:
            raise SettingError(("data", "shared_classes_only"), NO_CLASSES)
        if len(source.class_names) < 2:
            raise InputError(f"domain {source.name} has one class; 2 are needed")
        check_classes(target, source.class_names, source.name)
        target = target.with_classes(source.class_names)
        return DomainPair(source, with_few_alone(target, config), remarks)
    both = sorted(set(source.class_names) & set(target.class_names))
    left_out = []
    for domain, other in ((source, target), (target, source)):
        if alone := sorted(set(domain.class_names) - set(both)):
            if not config.shared_classes_only:
                raise _unequal(domain, other, alone, config.target, bool(both))
            count = int(np.isin(domain.labels, [domain.class_names.index(n) for n in alone]).sum())
            left_out.append(
                f"{domain.name}: skipped {counted(count, 'image')} of "
                f"{counted(len(alone), 'class', 'classes')} that {other.name} does not have "
                f"({some(alone)})"
            )
    if len(both) < 2:
        raise InputError(
            f"domains {source.name} and {target.name} share "
            f"{counted(len(both), 'class', 'classes')}; 2 are needed"
        )
    source, target = (_only(domain, both) for domain in (source, target))
    return DomainPair(source, target, (*remarks, *left_out))


def _open_target(config: DomainConfig, cache: Path, transparency: Transparency) -> Domain:
    """Open the target; where its labels cannot be made out, say how to continue without."""
    if config.folder is not None:
        config = config.model_copy(update={"folder": _local(config.folder, cache)})
    labelled = target_has_labels(config, cache)
    try:
        return open_domain(config, cache, labelled, transparency)
    except InputError as exc:
        if labelled and config.labelled is None and _opens_without_labels(config, cache):
            raise InputError(f"{exc}; {SAY_SO}") from None
        raise


def _opens_without_labels(config: DomainConfig, cache: Path) -> bool:
    try:
        open_domain(config, cache, labelled=False)
    except InputError:
        return False
    return True


def open_domain(
    config: DomainConfig,
    cache: Path,
    labelled: bool = True,
    transparency: Transparency = "white",
) -> Domain:
    """Open one domain under the class names that its config gives it.

    ``labelled`` says whether it has labels besides those of its training images that its config
    names.
    """
    how = Preparation(config.grey_bits, transparency)
    few = config.labels
    read = labelled or (few is not None and few.train is not None)
    if config.dataset in EMBEDDED:
        domain = load_digits_domain(str(config.dataset))
    elif config.dataset is not None:
        if config.root is None:
            raise InputError(f"data set {config.dataset}: needs root, the folder where it lies")
        domain = load_torchvision_domain(config.dataset, config.root)
    elif config.folder is not None:
        load = load_folder_domain if read else load_bare_folder
        domain = load(_local(config.folder, cache), how)
    else:
        table = _table(config, cache)
        domain = load_manifest_domain(table, read, how, training_alone=not labelled)
    if not read:
        domain = domain.without_labels()
    if not labelled and (key := config.lacking_labels):
        raise SettingError(("data", "target", key), NEEDS_LABELS)
    if config.unlabelled is not None:
        place = _local(config.unlabelled, cache)
        domain = _with_more(domain, load_unlabelled(place, domain.class_names, how))
    if few is not None and few.folder is not None:
        domain = _with_few(domain, load_class_folders(_local(few.folder, cache), how=how))
    domain = _renamed(replace(domain, name=config.name), config.classes)
    return domain if labelled else replace(domain, labelled=False)


def combine(domains: Sequence[Domain]) -> Domain:
    """Several domains as one; either all or none came with splits.

    Raises:
        InputError: some came with splits of their own and others did not.
    """
    if len(domains) == 1:
        return domains[0]
    given = [domain for domain in domains if domain.splits is not None]
    if given and len(given) < len(domains):
        other = next(domain for domain in domains if domain.splits is None)
        raise InputError(
            f"domain {given[0].name} comes with splits and domain {other.name} without; "
            "give all sources splits, or none"
        )
    names = sorted({name for domain in domains for name in domain.class_names})
    remarks = tuple(remark for domain in domains for remark in domain.remarks)
    for domain in domains:
        if lacking := sorted(set(names) - set(domain.class_names)):
            remarks += (f"{domain.name}: lacks {some(lacking)}, which other sources have",)
    aligned = [domain.with_classes(names) for domain in domains]
    where = [(domain, row) for domain in aligned for row in range(len(domain))]

    def decode(number: int, side: int) -> Image:
        domain, row = where[number]
        return domain.decode(row, side)

    return Domain(
        name="+".join(domain.name for domain in domains),
        class_names=tuple(names),
        labels=np.concatenate([domain.labels for domain in aligned]),
        keys=[key for domain in domains for key in domain.keys],
        decode=decode,
        places=[place for domain in domains for place in domain.places],
        splits=[split for domain in given for split in domain.splits or ()] if given else None,
        remarks=remarks,
        grey_bits=max((domain.grey_bits for domain in domains if domain.grey_bits), default=None),
    )


def _with_more(domain: Domain, more: Domain) -> Domain:
    """Add images to the training split."""
    splits = None if domain.splits is None else ["train"] * len(more)
    return replace(combine([domain, replace(more, splits=splits)]), name=domain.name)


def _with_few(domain: Domain, few: Domain) -> Domain:
    """Add images to the training split whose labels training may see."""
    if not domain.labelled:
        domain = domain.with_classes(few.class_names)
    check_classes(few, domain.class_names, domain.name)
    mask = np.concatenate([np.zeros(len(domain), bool), np.ones(len(few), bool)])
    both = _with_more(domain, few.with_classes(domain.class_names))
    return replace(both, labelled=domain.labelled, few=mask)


def _renamed(domain: Domain, names: dict[str, str]) -> Domain:
    """Rename classes as the user says; several may become one."""
    names = {class_name(old): class_name(new) for old, new in names.items()}
    for name in names:
        if name not in domain.class_names:
            raise InputError(
                f"domain {domain.name}: classes: it has no class '{name}'; "
                f"{nearest(name, domain.class_names)}"
            )
    if not names:
        return domain  # with its classes in their own order
    new = sorted({names.get(name, name) for name in domain.class_names})
    return domain.with_classes(new, renamed=names)


def _only(domain: Domain, names: Sequence[str]) -> Domain:
    """Keep the images of these classes, in this order, and those without a label."""
    kept = [*(domain.class_names.index(name) for name in names), NO_LABEL]
    rows = np.flatnonzero(np.isin(domain.labels, kept)).tolist()
    return domain.subset(rows).with_classes(names)


def _unequal(
    domain: Domain, other: Domain, alone: Sequence[str], target: DomainConfig, share_some: bool
) -> InputError:
    remedy = (
        "map their names under 'classes', or continue without them: data.shared_classes_only: true"
    )
    if target.labelled is None and target.dataset is None:
        remedy = (
            f"{remedy}, which the target's labels decide; to use none of them: "
            "data.target.labelled: false (docs/data.md, Classes that only one domain has)"
            if share_some
            else f"they share none: map their names under 'classes'; {SAY_SO}"
        )
    more = sorted(set(other.class_names) - set(domain.class_names))
    instead = f"; {other.name} has {some(more)} instead" if more else ""
    return InputError(
        f"domain {other.name} lacks {counted(len(alone), 'class', 'classes')} that {domain.name} "
        f"has: {some(alone)}; "
        f"{remedy}{instead}"
    )


def _table(config: DomainConfig, cache: Path) -> Path:
    if config.huggingface is not None:
        return local_dataset(config.huggingface, cache)
    assert config.manifest is not None
    return local_manifest(config.manifest, cache)


def _local(place: str | Path, cache: Path) -> Path:
    return place if isinstance(place, Path) else local_copy(place, cache)
