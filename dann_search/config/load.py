"""From SPACE.yaml and the command line to one validated, frozen experiment and its space."""

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from dann_search.config.experiment import Experiment
from dann_search.config.parameter import KINDS, Choice, Int, LogUniform, Uniform
from dann_search.config.source import KeyPath, SourceFile, read_yaml
from dann_search.config.space import Space, SpaceError, build_space, describe
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError, nearest


def load_experiment(
    path: Path,
    stages: Mapping[str, int],
    *,
    sets: Sequence[str] = (),
    name: str | None = None,
    storage: Path | None = None,
    trials: int | None = None,
) -> tuple[Experiment, Space]:
    """Read, override and validate an experiment file.

    Args:
        path: the YAML file. Relative paths in it are relative to its folder.
        stages: number of stages of every known backbone.
        sets: ``KEY=VALUE`` overrides, keys dotted, values in YAML.
        name: overrides the experiment's name; its default is the file's.
        storage: overrides where experiments lie; its default is ``runs`` in the working folder.
        trials: overrides ``search.trials``.

    Raises:
        InputError: with the file, line and key at fault.
    """
    source = read_yaml(path)
    for item in sets:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise InputError(f"--set {item}: expected KEY=VALUE, such as training.epochs=5")
        try:
            source.override(tuple(key.split(".")), yaml.safe_load(value), f"--set {item}")
        except yaml.YAMLError:
            raise InputError(f"--set {item}: the value is no valid YAML") from None
    if trials is not None:
        source.override(("search", "trials"), trials, f"--trials {trials}")
    if name is not None:
        source.override(("name",), name, f"--name {name}")
    source.content.setdefault("name", path.stem)
    experiment = parse_experiment(source, path.parent.resolve(), stages)
    where = storage or (experiment.storage if "storage" in source.content else Path("runs"))
    experiment = experiment.model_copy(update={"storage": where.expanduser().resolve()})
    return experiment, build_space(experiment, stages)


def parse_experiment(source: SourceFile, base: Path, stages: Mapping[str, int]) -> Experiment:
    """Validate the content of an experiment file; relative paths are taken from ``base``."""
    if "data" not in source.content:
        raise InputError(f"{source.name}: data is missing: name a source and a target domain")
    try:
        experiment = Experiment.model_validate(source.content)
    except ValidationError as exc:
        raise _first_error(source, exc, Experiment) from None
    try:
        TrialConfig.model_validate(experiment.training)
    except ValidationError as exc:
        raise _first_error(source, exc, TrialConfig, ("training",)) from None
    experiment = _absolute(experiment, base)
    try:
        build_space(experiment, stages)
    except SpaceError as exc:
        raise source.error(exc.path, str(exc)) from None
    for backbone, file in experiment.weights.items():
        if backbone not in stages:
            raise source.error(
                ("weights", backbone), f"unknown backbone; {nearest(backbone, stages)}"
            )
        if not file.is_file():
            raise source.error(("weights", backbone), f"no such file: {file}")
    for role in ("source", "target"):
        folder = getattr(experiment.data, role).folder
        if folder is not None and not folder.is_dir():
            raise source.error(("data", role, "folder"), f"no such folder: {folder}")
    return experiment


def _absolute(experiment: Experiment, base: Path) -> Experiment:
    data = experiment.data
    domains = {
        role: domain.model_copy(update={"folder": (base / domain.folder.expanduser()).resolve()})
        for role in ("source", "target")
        if (domain := getattr(data, role)).folder is not None
    }
    weights = {
        name: (base / file.expanduser()).resolve() for name, file in experiment.weights.items()
    }
    return experiment.model_copy(
        update={
            "data": data.model_copy(update=domains),
            "weights": weights,
            "storage": base / experiment.storage.expanduser(),
        }
    )


def _first_error(
    source: SourceFile, exc: ValidationError, model: type[BaseModel], prefix: KeyPath = ()
) -> InputError:
    # A wrong name explains more than what its absence breaks, so unknown keys go first.
    errors = sorted(exc.errors(), key=lambda error: error["type"] != "extra_forbidden")
    error: Any = errors[0]
    path = _user_path(source, (*prefix, *error["loc"]))
    match error["type"]:
        case "extra_forbidden":
            owner = _model_at(model, path[len(prefix) : -1])
            return source.error(
                path, f"unknown key '{path[-1]}'; {nearest(path[-1], owner.model_fields)}"
            )
        case "missing":
            return source.error(path, "is missing")
        case "parameter_kind":
            return source.error(
                path, f"expected one of {{{': …}, {'.join(KINDS)}: …}}, got {error['input']!r}"
            )
        case "too_short":
            return source.error(path, "must not be empty")
        case "model_type" | "model_attributes_type" | "dict_type":
            return source.error(path, f"expected a section with keys, got {error['input']!r}")
        case "literal_error":
            options = [
                option.strip("'")
                for option in error["ctx"]["expected"].replace(" or ", ", ").split(", ")
            ]
            return source.error(
                path, f"unknown value {error['input']!r}; {nearest(error['input'], options)}"
            )
    return source.error(path, describe(error))


def _user_path(source: SourceFile, location: tuple[int | str, ...]) -> KeyPath:
    """The location without the names pydantic adds for members of unions."""
    path: KeyPath = ()
    node: Any = source.content
    for key in location:
        if (
            (isinstance(node, dict)
            and key in node)
            or (isinstance(node, list)
            and isinstance(key, int))
        ):
            node = node[key] if isinstance(node, dict) or key < len(node) else None
        elif key in KINDS or not isinstance(node, dict) or not _is_field(key):
            continue
        path = (*path, key)
    return path


def _is_field(key: str | int) -> bool:
    """Field names are lower-case words; tags of union members such as 'function-before[...]' are not."""
    return (
        isinstance(key, str) and key.replace("_", "").isalpha() and key.islower() and key != "float"
    )


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel]:
    """The model whose fields are valid at ``path``."""
    if path[:1] == ("space",) and len(path) >= 2:
        return type(
            "Parameter", (BaseModel,), {"__annotations__": {n: Any for n in (*KINDS, "when")}}
        )
    for key in path:
        field = model.model_fields.get(str(key))
        if field is None:
            return model
        for option in _options(field.annotation):
            if isinstance(option, type) and issubclass(option, BaseModel):
                model = option
    return model


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


__all__ = ["Choice", "Int", "LogUniform", "Uniform", "load_experiment", "parse_experiment"]
