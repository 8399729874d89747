"""Whether a target has labels, and what chooses models where it has none."""

from pathlib import Path, PurePosixPath

from dann_search.config.data import DomainConfig
from dann_search.config.experiment import F1_MACRO, LABEL_FREE, ExperimentConfig
from dann_search.config.extensions import METHODS, VALIDATORS
from dann_search.config.parameter import Choice
from dann_search.config.source import SettingError
from dann_search.data.decode import EXTENSIONS
from dann_search.data.folder import is_flat
from dann_search.data.hub import local_dataset
from dann_search.data.manifest import lacks_labels
from dann_search.data.remote import local_copy
from dann_search.data.walk import is_hidden
from dann_search.errors import InputError, RunError
from dann_search.storage.remote_folder import RemoteFolder, cache_folder

SAY_SO = "if the images of the target have no labels, say so: data.target.labelled: false"


def why_label_free(experiment: ExperimentConfig) -> str:
    """Say why the objective is one without labels where the file names none."""
    lacks = "the target has no labels"
    if experiment.data.target.labels is not None:
        lacks = "of the target only its training images have labels"
    return (
        f"search.objective is {LABEL_FREE}, as {lacks}: of the scores that need none it ranks "
        "trials best in docs/benchmarks.md (Validators)"
    )


def fitted_to_target(experiment: ExperimentConfig) -> tuple[ExperimentConfig, bool]:
    """Return an experiment whose objective its target allows, and whether the target has labels.

    Raises:
        InputError: as ``target_has_labels`` and ``with_objective``, or a method needs labels of
            training images and ``data.target.labels`` gives none.
    """
    _check_methods(experiment)
    labelled = target_has_labels(experiment.data.target, cache_folder())
    return with_objective(experiment, labelled), labelled


def _check_methods(experiment: ExperimentConfig) -> None:
    if experiment.data.target.labels is not None:
        return
    searched = experiment.space.get("method")
    stated = {("space", "method"): searched.choice if isinstance(searched, Choice) else ()}
    stated |= {("training", "method"): [experiment.fixed.method]}
    for path, methods in stated.items():
        for name in map(str, methods):
            if METHODS[name].target_labels == "needed":
                raise SettingError(
                    path,
                    f"{name} needs labelled training images of the target: data.target.labels: "
                    "{train: 3}, or leave it out",
                )


def target_has_labels(config: DomainConfig, cache: Path) -> bool:
    """Tell whether a target has labels, by its config or by how its place looks.

    A folder of images without folders in it has none, nor has a manifest without a column of
    labels. What cannot be read counts as labelled: opening it says what is wrong.

    Raises:
        InputError: a manifest has a column that may hold labels, under another name.
    """
    if config.labelled is not None:
        return config.labelled
    if config.huggingface is not None:
        try:
            return not lacks_labels(local_dataset(config.huggingface, cache))
        except InputError:
            return True
    if config.manifest is not None:
        try:
            manifest = config.manifest
            table = manifest if isinstance(manifest, Path) else local_copy(manifest, cache)
        except InputError:
            return True
        return not lacks_labels(table)
    if isinstance(config.folder, Path):
        return not is_flat(config.folder)
    if config.folder is not None:
        try:
            paths = map(PurePosixPath, RemoteFolder.of(config.folder).files())
        except (InputError, RunError):
            return True
        seen = [path for path in paths if not any(map(is_hidden, path.parts))]
        flat = all(len(path.parts) == 1 for path in seen)
        return not (flat and any(path.suffix.lower() in EXTENSIONS for path in seen))
    return True


def with_objective(experiment: ExperimentConfig, labelled: bool) -> ExperimentConfig:
    """Return an experiment whose objective its target allows.

    Raises:
        SettingError: the file asks for one that needs labels, or has a budget in terms of it.
    """
    search = experiment.search
    if labelled or search.objective != F1_MACRO:
        return experiment
    none = "none to choose by" if experiment.data.target.labels else "none"
    if "objective" in search.model_fields_set:
        others = ", ".join(name for name in VALIDATORS if name != LABEL_FREE)
        raise SettingError(
            ("search", "objective"),
            f"{F1_MACRO} needs target labels and {experiment.data.target.name} has {none}; choose "
            f"{LABEL_FREE}, which is the default then, or one of {others}",
        )
    if search.budget.target is not None:
        raise SettingError(
            ("search", "budget", "target"),
            f"{search.budget.target:g} is of {F1_MACRO}, which needs target labels, and "
            f"{experiment.data.target.name} has {none}; name the search.objective it is of, such "
            f"as {LABEL_FREE}, or leave it out",
        )
    chosen = search.model_copy(update={"objective": LABEL_FREE})
    return experiment.model_copy(update={"search": chosen})
