"""A study made whole or not at all, and opened only by the experiment that it is of."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial

from dann_search.atomic_file import sync_folder
from dann_search.config.experiment import Experiment
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial
from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder
from dann_search.search.first_trials import warm_trials
from dann_search.search.same_search import check_same, what_is_searched
from dann_search.study_storage import (
    StudyPlace,
    close,
    find_study,
    mend_journal,
    open_study_storage,
    opened,
    study_place,
)

EXPERIMENT, SEARCHED = "experiment", "searched"


def open_study(
    experiment: Experiment,
    space: Space,
    folder: ExperimentFolder,
    known: Sequence[KnownTrial],
    allow_wider: bool,
) -> optuna.Study:
    """The study of an experiment; made where there is none, with the trials it is to learn from.

    Raises:
        InputError: it cannot be opened, is lost, another experiment's, or of another search space.
    """
    place = study_place(folder, experiment.search.study)
    now = what_is_searched(experiment, space)
    if place.kind == "journal" and place.file.exists():
        mend_journal(place.file)
    if not place.exists(experiment.name):
        check_not_lost(folder, place, experiment.name)
        attributes = {EXPERIMENT: identity(folder), SEARCHED: now}
        _create(place, experiment.name, warm_trials(space, known), attributes)
    storage = open_study_storage(place)
    try:
        study = _own_study(storage, place, experiment.name, folder)
        before = study.user_attrs.get(SEARCHED, now)
        check_same(before, now, str(folder.record), allow_wider)
    except BaseException:
        close(storage)
        raise
    if before != now or SEARCHED not in study.user_attrs:
        study.set_user_attr(SEARCHED, now)
    return study


def check_not_lost(folder: ExperimentFolder, place: StudyPlace, name: str) -> None:
    """Make no study where one has been: its trials would go on from checkpoints of others.

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
    """Make a study; a file is made beside its place and renamed: a crash leaves none or a whole."""
    temporary = place
    if place.url is None:
        file = place.file.with_name(f".{place.file.name}-{os.getpid()}")
        file.unlink(missing_ok=True)
        temporary = replace(place, file=file)
    with opened(temporary) as storage:
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        for key, value in attributes.items():
            study.set_user_attr(key, value)
        study.add_trials(known)
    if place.url is None:
        os.replace(temporary.file, place.file)
        sync_folder(place.file.parent)


def identity(folder: ExperimentFolder) -> str | None:
    """What tells an experiment from others of its name; None before it was laid out."""
    if not folder.record.exists():
        return None
    found: str | None = yaml.safe_load(folder.record.read_text(encoding="utf-8")).get("id")
    return found


def _own_study(
    storage: optuna.storages.BaseStorage, place: StudyPlace, name: str, folder: ExperimentFolder
) -> optuna.Study:
    find_study(storage, place, name)
    study = optuna.load_study(study_name=name, storage=storage)
    owner = study.user_attrs.get(EXPERIMENT)
    if owner is not None and owner != identity(folder):
        raise InputError(
            f"{place.shown}: its study '{name}' belongs to another experiment of that name; "
            "put this one's back, or launch it under another name"
        )
    return study
