"""Serve optuna-dashboard on an experiment's study."""

import importlib.util
from collections.abc import Callable

from dann_search.errors import InputError
from dann_search.results.loopback import loopback_server
from dann_search.results.reader import read_experiment
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study_storage import find_study, opened, study_place


def serve(folder: ExperimentFolder, port: int, ready: Callable[[str], None]) -> None:
    """Serve the study on the loopback until interrupted; call ``ready`` with the study's place.

    Raises:
        InputError: optuna-dashboard is not installed, or there is no study yet.
        RunError: the port is taken.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise InputError("optuna-dashboard is missing: pip install 'dann-search[dashboard]'")
    experiment = read_experiment(folder)
    place = study_place(folder, experiment.search.study)
    if not place.exists(experiment.name):
        raise InputError(f"{folder.root}: no study yet; launch or resume the search first")
    from optuna_dashboard import wsgi

    with opened(place) as storage:
        find_study(storage, place, experiment.name, folder)
        with loopback_server(wsgi(storage), port) as server:
            ready(place.shown)
            server.serve_forever()
