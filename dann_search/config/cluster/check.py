"""All checks of a cluster file that need neither Ray nor a cloud."""

from dataclasses import dataclass

from dann_search.config.cluster.capacity import check_capacity
from dann_search.config.cluster.cluster_file import ClusterFile
from dann_search.config.cluster.finding import Notes
from dann_search.config.cluster.images import check_images
from dann_search.config.cluster.installing import check_installing
from dann_search.config.cluster.places import check_places
from dann_search.config.cluster.security import check_security
from dann_search.config.cluster.sharing import check_sharing
from dann_search.config.cluster.spot import check_spot
from dann_search.config.cluster.starting import check_starting
from dann_search.config.cluster.structure import check_structure
from dann_search.config.cluster.versions import check_versions
from dann_search.config.experiment import Experiment
from dann_search.config.source import SourceFile


@dataclass(frozen=True)
class SpaceToRun:
    """The search that a cluster is to carry: its file, read and validated."""

    source: SourceFile
    experiment: Experiment
    storage: str
    origin: str | None = None
    """What named the storage in the file's place."""


def check_cluster(source: SourceFile, space: SpaceToRun | None = None) -> Notes:
    """Everything wrong with a launcher's file, on its own or for a search."""
    notes, file = Notes(source), ClusterFile(source)
    experiment = space.experiment if space else None
    check_structure(notes)
    check_places(file, notes)
    check_capacity(file, notes, experiment)
    check_spot(file, notes)
    check_images(file, notes)
    check_starting(file, notes)
    check_security(file, notes)
    check_installing(file, notes)
    check_versions(file, notes)
    if space is not None:
        check_sharing(file, notes, space.source, space.storage, space.origin)
    return notes
