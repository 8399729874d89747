"""Create a study whole or not at all; open it for its own experiment and its own search only."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from dann_search.config.experiment import ExperimentConfig, WeightsFile
from dann_search.config.source import SettingError, dotted
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial
from dann_search.errors import InputError
from dann_search.storage.atomic_file import sync_folder
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.first_trials import warm_trials
from dann_search.study.remembered import RememberedStorage
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
RANGES = ("uniform", "loguniform", "int")


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
    """Refuse to create a study where one has been: trials would continue from others' checkpoints.

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


def what_is_searched(experiment: ExperimentConfig, space: Space) -> dict[str, dict[str, Any]]:
    """All that makes values of two trials comparable, as JSON holds it."""
    return {
        "search": {"objective": experiment.search.objective},
        "training": space.fixed.model_dump(mode="json"),
        "space": {
            name: parameter.model_dump(mode="json", exclude_defaults=True)
            for name, parameter in space.parameters.items()
        },
        "weights": {
            backbone: _weights(experiment.weights[backbone])
            for backbone in space.backbones
            if backbone in experiment.weights
        },
    }


def _weights(entry: WeightsFile) -> dict[str, Any]:
    """Return what identifies a file's content, wherever it lies."""
    with open(entry.file, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    normalization = entry.model_dump(mode="json", include={"mean", "std"}, exclude_none=True)
    return {"sha256": digest[:16], **normalization}


def check_same(
    before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]], allow_wider: bool
) -> None:
    """Refuse to continue with another search.

    Sections that an older version did not note are not compared; a field of ``training`` that it
    did not know has its default.

    Raises:
        SettingError: at the first difference, with all of them; those that ``allow_wider`` would
            let pass are marked.
    """
    changed = {
        (section, name): (before[section].get(name), now[section].get(name))
        for section in now
        if section in before
        for name in before[section] | now[section]
        if before[section].get(name) != now[section].get(name)
        and (section != "training" or name in before[section])
    }
    wider = all(place[0] == "space" and _grew(*values) for place, values in changed.items())
    if not changed or (allow_wider and wider):
        return
    remedy = "undo that, or launch it under another name (search.warm_start learns from this one)"
    if wider:
        remedy = "ranges that only grew are accepted with --allow-wider-space"
    told = {place: ["absent" if v is None else v for v in pair] for place, pair in changed.items()}
    text = "; ".join(f"{dotted(place)} was {was}, is {new}" for place, (was, new) in told.items())
    raise SettingError(next(iter(changed)), f"not the search that was begun: {text}; {remedy}")


def _grew(old: Any, new: Any) -> bool:
    """Whether a range has become wider and is otherwise the same.

    Choices cannot grow: to a study a choice of three and one of four are different parameters.
    """
    if not (isinstance(old, dict) and isinstance(new, dict)) or old.keys() != new.keys():
        return False
    kind = next((one for one in RANGES if one in old), None)
    if kind is None or any(old[k] != new[k] for k in old if k not in (kind, "per_backbone")):
        return False
    before = {"": old[kind], **old.get("per_backbone", {})}
    now = {"": new[kind], **new.get("per_backbone", {})}
    step = old.get("step")
    return before.keys() == now.keys() and all(
        now[name][0] <= low
        and high <= now[name][1]
        and (step is None or _meets(low - now[name][0], step))
        for name, (low, high) in before.items()
    )


def _meets(distance: float, step: float) -> bool:
    return abs(distance / step - round(distance / step)) < 1e-6
