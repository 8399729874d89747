"""All checks of a cluster file that need neither Ray nor a cloud."""

from dataclasses import dataclass

from dann_search.cluster.file.capacity import check_capacity
from dann_search.cluster.file.cluster_file import ClusterFile
from dann_search.cluster.file.finding import Notes
from dann_search.cluster.file.images import check_images
from dann_search.cluster.file.installing import check_installing
from dann_search.cluster.file.places import check_places
from dann_search.cluster.file.security import check_security
from dann_search.cluster.file.sharing import check_sharing
from dann_search.cluster.file.spot import check_spot
from dann_search.cluster.file.starting import check_starting
from dann_search.cluster.file.structure import check_structure
from dann_search.cluster.file.versions import check_versions
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
