"""What a search needs of its machines: storage, data, room for the packed store."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dann_search.cluster.doctor.probe import DataPlace
from dann_search.config.data import PLACES, DataConfig, DomainConfig
from dann_search.config.experiment import ExperimentConfig
from dann_search.config.load import experiment_of, read_source
from dann_search.config.source import KeyPath
from dann_search.data.target_has_labels import fitted_to_target
from dann_search.data.walk import images_below
from dann_search.models.registry import largest_native_size, stage_counts
from dann_search.storage.layout import default_storage
from dann_search.storage.remote_folder import is_url

GIB = 2**30
EMBEDDED_IMAGES = 1797
"""Number of scikit-learn's digits."""


@dataclass(frozen=True)
class Needs:
    """What every node must have.

    Attributes:
        storage: absolute path or URL; None if none was named.
        places: data to reach; None if no search was named.
        store_bytes: size of the packed store, or its limit.
        store_is_known: whether the size was computed from the number of images.
        label_free: the objective, where the target has no labels; empty where it has.
    """

    storage: str | None
    places: tuple[DataPlace, ...] | None = None
    store_bytes: int = GIB
    store_is_known: bool = False
    label_free: str = ""

    @property
    def folders(self) -> tuple[str, ...]:
        """The folder whose disk the storage uses, if it is one."""
        return () if self.storage is None or is_url(self.storage) else (self.storage,)

    @property
    def not_checked(self) -> list[str]:
        """What cannot be checked because an option is missing."""
        left_out = []
        if self.storage is None:
            left_out.append("storage: name it with --storage DIR|URL or --space SPACE.yaml")
        if self.places is None:
            left_out.append("data: name the search with --space SPACE.yaml")
        if self.label_free:
            left_out.append(
                f"labels of the target: it has none, so {self.label_free}, which needs none, "
                "chooses the model"
            )
        return left_out


def needs_of(space: Path | None, storage: str | None, sets: Sequence[str], *, local: bool) -> Needs:
    """Read the needs from the options of ``doctor``; one machine has a default storage.

    Raises:
        InputError: the experiment file is invalid.
    """
    if space is None:
        named = storage or (default_storage() if local else None)
        return Needs(named if named is None or is_url(named) else str(Path(named).absolute()))
    source = read_source(space, sets=sets, storage=storage)
    experiment, found = experiment_of(source, stage_counts(), check_files=False)
    with source.placing():
        experiment, labelled = fitted_to_target(experiment)
    side = experiment.data.image_size or largest_native_size(found.backbones)
    images = _count(experiment.data)
    limit = int(experiment.data.store_limit_gib * GIB)
    return Needs(
        storage=str(experiment.storage),
        places=places_of(experiment),
        store_bytes=limit if images is None else min(limit, images * 3 * side**2),
        store_is_known=images is not None,
        label_free="" if labelled else experiment.search.objective,
    )


def places_of(experiment: ExperimentConfig) -> tuple[DataPlace, ...]:
    """List the folders, manifests and URLs of a search's data, and its weights."""
    weights = experiment.weights.items()
    files = [DataPlace(("weights", name), str(one.file), is_file=True) for name, one in weights]
    return (*data_places(experiment.data), *files)


def data_places(data: DataConfig) -> list[DataPlace]:
    """List the folders, manifests and URLs of all domains."""
    one = isinstance(data.source, DomainConfig)
    domains: list[tuple[KeyPath, DomainConfig]] = [
        (("data", "source") if one else ("data", "source", number), source)
        for number, source in enumerate(data.sources)
    ]
    domains.append((("data", "target"), data.target))
    found = [
        DataPlace((*path, key), str(where), is_file=key == "manifest")
        for path, domain in domains
        for key in ("root", *PLACES)
        if (where := getattr(domain, key)) is not None
    ]
    found += [
        DataPlace((*path, "huggingface", "folder"), str(saved.folder))
        for path, domain in domains
        if (saved := domain.huggingface) and saved.folder is not None
    ]
    if (few := data.target.labels) and few.folder is not None:
        found.append(DataPlace(("data", "target", "labels", "folder"), str(few.folder)))
    return found


def _count(data: DataConfig) -> int | None:
    """Count the images of both domains; None if this machine cannot."""
    try:
        return sum(map(_count_domain, (*data.sources, data.target)))
    except (OSError, UnicodeDecodeError, csv.Error):
        return None


def _count_domain(domain: DomainConfig) -> int:
    if domain.dataset is not None and not domain.root:
        return EMBEDDED_IMAGES
    if domain.huggingface is not None:
        raise OSError("not counted")
    few = domain.labels.folder if domain.labels else None
    places = [domain.folder, domain.unlabelled, domain.manifest, few]
    rows = sum(_rows(place) for place in places if place is not None)
    if not rows:
        raise OSError("not counted")
    return rows


def _rows(place: str | Path) -> int:
    """Count the images of a folder or a CSV manifest, but not those of a Parquet file or a URL."""
    path = Path(place)
    if path.is_dir():
        return sum(1 for _ in images_below(path))
    if isinstance(place, str) or path.suffix.lower() != ".csv":
        raise OSError("not counted")
    with path.open(encoding="utf-8-sig", newline="") as file:
        return max(0, sum(1 for _ in csv.reader(file)) - 1)
