"""Create a study whole or not at all; open it for its own experiment only."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial
from dann_search.errors import InputError
from dann_search.storage.atomic_file import sync_folder
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.first_trials import warm_trials
from dann_search.study.remembered import RememberedStorage
from dann_search.study.same_search import check_same, what_is_searched
from dann_search.study.study_names import EXPERIMENT
from dann_search.study.study_storage import (
    StudyPlace,
    check_whole,
    find_study,
    identity,
    mend_journal,
    opened,
    study_place,
)

SEARCHED = "searched"


def open_study(
    experiment: ExperimentConfig,
    space: Space,
    folder: ExperimentFolder,
    known: Sequence[KnownTrial],
    allow_wider: bool,
) -> optuna.Study:
    """Open the study of an experiment; create it where there is none, with known trials.

    Raises:
        InputError: the study cannot be opened, is lost, belongs to another experiment, or has
            another search space.
    """
    place = study_place(folder, experiment.search.study)
    now = what_is_searched(experiment, space)
    if place.kind == "journal" and place.file.exists():
        mend_journal(place.file)
    if not place.exists(experiment.name):
        check_not_lost(folder, place, experiment.name)
        attributes = {SEARCHED: now, EXPERIMENT: identity(folder)}
        _create(place, experiment.name, warm_trials(space, known), attributes)
    with opened(place, stays_open=True) as storage:
        check_whole(storage, place)
        find_study(storage, place, experiment.name, folder)
        remembered = RememberedStorage(storage, experiment.name)
        study = optuna.load_study(study_name=experiment.name, storage=remembered)
        before = study.user_attrs.get(SEARCHED, now)
        study.get_trials(deepcopy=False)
        check_same(before, now, allow_wider)
    if before != now or SEARCHED not in study.user_attrs:
        study.set_user_attr(SEARCHED, now)
    return study


def check_not_lost(folder: ExperimentFolder, place: StudyPlace, name: str) -> None:
    """Refuse to create a study where one has been: trials would go on from others' checkpoints.

    Raises:
        InputError: there are trials already, or a study of another kind.
    """
    for other in (folder.study, folder.study_journal):
        if other.exists():
            raise InputError(f"{place.shown}: no study is made there, for there is {other} already")
    if folder.remote:
        files = folder.remote.files(folder.trials.name)
        trials = len({Path(file).parts[1] for file in files})
    else:
        trials = len(list(folder.trials.iterdir())) if folder.trials.is_dir() else 0
    if trials:
        raise InputError(
            f"{place.shown}: the study '{name}' is not there, but {folder}/{folder.trials.name} "
            f"holds what {trials} of its trials trained; put it back where it was, or launch the "
            "experiment under another name"
        )


def _create(
    place: StudyPlace, name: str, known: Sequence[FrozenTrial], attributes: dict[str, Any]
) -> None:
    """Create a study so that a crash leaves it whole, or to be created anew.

    A file is created beside its place and renamed. In a database, the last of its ``attributes``
    tells that it is whole.
    """
    temporary = place
    if place.url is None:
        file = place.file.with_name(f".{place.file.name}-{os.getpid()}")
        file.unlink(missing_ok=True)
        temporary = replace(place, file=file)
    with opened(temporary) as storage:
        if temporary.is_half_made(name):
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        study.add_trials(known)
        for key, value in attributes.items():
            study.set_user_attr(key, value)
    if place.url is None:
        os.replace(temporary.file, place.file)
        sync_folder(place.file.parent)
