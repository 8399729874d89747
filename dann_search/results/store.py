"""Find the packed images of an experiment."""

from pathlib import Path

from dann_search.data.node_store import store_here, store_of
from dann_search.data.store import StoreInfo
from dann_search.results.reader import read_experiment, read_record
from dann_search.storage.layout import ExperimentFolder


def packed_store(folder: ExperimentFolder) -> Path:
    """Return their folder on this machine: in the experiment's, else packed again.

    Raises:
        InputError: the data to pack are not on this machine, or are no longer the same.
    """
    info = StoreInfo(**read_record(folder)["data"])
    return store_here(store_of(folder, read_experiment(folder).data, info))
