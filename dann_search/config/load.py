"""From SPACE.yaml and the command line to one validated, frozen experiment and its space."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.extends import EXTENDS, OTHER, read_extended, take_from_other
from dann_search.config.extension_files import stated_extensions, use_extensions
from dann_search.config.messages import PAIR, describe, shown
from dann_search.config.parameter import KINDS
from dann_search.config.paths import check_data, check_weights, with_located_paths
from dann_search.config.shipped import named_file, write_new
from dann_search.config.source import KeyPath, SourceFile, parse_yaml, read_yaml
from dann_search.config.space import Space, build_space, unknown_backbone
from dann_search.config.start_points import start_points
from dann_search.config.strict import FieldError, leaf_types
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError, nearest


def load_experiment(
    space: Path | Mapping[str, Any],
    stages: Mapping[str, int],
    *,
    sets: Sequence[str] = (),
    name: str | None = None,
    storage: str | Path | None = None,
    trials: int | None = None,
    check_files: bool = True,
) -> tuple[ExperimentConfig, Space]:
    """Read, override and validate an experiment file.

    Args:
        space: the YAML file, or its content. Relative paths in a file are relative to its folder,
            others to the working folder.
        stages: number of stages of every known backbone.
        sets: ``KEY=VALUE`` overrides, keys dotted, values in YAML.
        name: overrides the experiment's name; its default is the file's.
        storage: overrides where experiments lie; a path or URL; its default is ``runs`` in the
            working folder, or what ``$DANN_SEARCH_STORAGE`` says.
        trials: overrides ``search.trials``.
        check_files: whether the data and weights it names must be there.

    Raises:
        InputError: with the file, line and key at fault.
    """
    source = read_source(space, sets=sets, name=name, storage=storage, trials=trials)
    return experiment_of(source, stages, check_files=check_files)


def read_source(
    space: Path | Mapping[str, Any],
    *,
    sets: Sequence[str] = (),
    name: str | None = None,
    storage: str | Path | None = None,
    trials: int | None = None,
) -> SourceFile:
    """Read an experiment file and override its keys, as ``load_experiment``; nothing is checked.

    A name such as ``quickstart`` is that of a file that comes with the package. Its relative paths
    are relative to the working folder.
    """
    if isinstance(space, Path):
        file = named_file(space)
        source, own_name = read_extended(file), file.stem
        source.relative_to = None if file == space else Path.cwd()
    else:
        source, own_name = SourceFile("experiment", copy.deepcopy(dict(space))), "experiment"
    override(source, sets)
    options = {"trials": trials, "name": name, "storage": storage and str(storage)}
    for option, value in options.items():
        if value is not None:
            key = ("search", option) if option == "trials" else (option,)
            source.override(key, value, f"--{option} {value}")
    source.content.setdefault("name", own_name)
    return source


def experiment_of(
    source: SourceFile,
    stages: Mapping[str, int],
    *,
    check_files: bool = True,
    is_record: bool = False,
) -> tuple[ExperimentConfig, Space]:
    """Validate what was read, as ``load_experiment``; its ``extensions`` are used from now on.

    Those of a record are in use already, from the experiment's folder, and its domains are not
    needed any more: they are packed.
    """
    if not is_record:
        use_extensions(stated_extensions(source))
    experiment = parse_experiment(source, stages)
    if check_files:
        check_weights(experiment, source)
        if not is_record:
            check_data(experiment, source)
    search = experiment.search
    with source.placing():
        space = build_space(experiment, stages)
        start_points(space, search.start_points, search.published_first)
    return experiment, space


def write_resolved(experiment: ExperimentConfig, file: Path) -> None:
    """Write a new experiment file with everything in it: what it extends, absolute paths.

    Raises:
        InputError: the file exists, or cannot be written.
    """
    content = experiment.model_dump(mode="json")
    write_new(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def override(source: SourceFile, sets: Sequence[str]) -> None:
    """Apply ``KEY=VALUE`` options; a parameter that one fixes is not searched, and vice versa.

    Raises:
        InputError: an option is none.
    """
    for item in sets:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise InputError(f"--set {item}: expected KEY=VALUE, such as training.epochs=5")
        # What may hold a password is not repeated by any message.
        origin = f"--set {key}=…" if "://" in value else f"--set {item}"
        content, _ = parse_yaml(value, origin, one_line=True)
        keys = tuple(key.split("."))
        if keys[0] == EXTENDS:
            raise InputError(f"{origin}: only a file can extend another; write it there")
        if keys[0] in OTHER and len(keys) > 1:
            take_from_other(source, keys[0], keys[1])
        source.override(keys, content, origin)


def recorded_source(record: Path, content: dict[str, Any], sets: Sequence[str]) -> SourceFile:
    """Read an experiment from its record, with overrides relative to the working folder.

    Raises:
        InputError: an override is none.
    """
    lines = {
        path[1:]: place
        for path, place in read_yaml(record).lines.items()
        if path[0] == "experiment" and len(path) > 1
    }
    source = SourceFile(str(record), content, lines, relative_to=Path.cwd())
    override(source, sets)
    # What is wrong with a section that was overridden is the override's fault, not the record's.
    for path in source.overridden:
        for length in range(1, len(path)):
            source.lines.pop(path[:length], None)
    return source


def parse_experiment(source: SourceFile, stages: Mapping[str, int]) -> ExperimentConfig:
    """Validate an experiment file but for its space; its paths become absolute.

    Raises:
        InputError: with the file, line and key at fault.
    """
    if "data" not in source.content:
        raise source.error(("data",), "is missing: name a source and a target domain")
    try:
        experiment = ExperimentConfig.model_validate(source.content)
        TrialConfig.model_validate(experiment.training)
    except ValidationError as exc:
        prefix: KeyPath = ("training",) if exc.title == TrialConfig.__name__ else ()
        raise _first_error(source, exc, prefix) from None
    experiment = with_located_paths(experiment, source)
    for backbone in experiment.weights:
        if backbone not in stages:
            raise source.error(("weights", backbone), unknown_backbone(backbone, stages))
    return experiment


def _first_error(source: SourceFile, exc: ValidationError, prefix: KeyPath) -> InputError:
    # A wrong name explains more than what its absence breaks, so unknown keys go first.
    errors: list[Any] = sorted(
        exc.errors(), key=lambda e: e["type"] not in ("extra_forbidden", "invalid_key")
    )
    error = errors[0]
    kind, location = error["type"], (*prefix, *error["loc"])
    if isinstance(at := error.get("ctx", {}).get("error"), FieldError):
        return source.error((*_path_of(source, location), *at.path), str(at))
    if kind in ("extra_forbidden", "invalid_key") or "[key]" in location:
        return _key_error(source, location)
    path = _path_of(source, location)
    if kind == "missing" and path == location[:-1] and not isinstance(error["input"], list):
        return source.error((*path, location[-1]), "is missing")
    if kind == "missing":
        return source.error(path, f"must be {PAIR}, got {shown(error['input'])}")
    if kind == "parameter_kind":
        kinds = f"{{{': …}, {'.join(KINDS)}: …}}"
        return source.error(path, f"must be one of {kinds}, got {shown(error['input'])}")
    same = [e for e in errors if _path_of(source, (*prefix, *e["loc"])) == path]
    return source.error(path, describe(same))


def _key_error(source: SourceFile, location: tuple[int | str, ...]) -> InputError:
    keys = [key for key in location if key != "[key]"]
    path = _path_of(source, tuple(keys))
    if not isinstance(keys[-1], str) or not path or path[-1] != keys[-1]:
        where = path[:-1] if path[-1:] == (keys[-1],) else path
        node: Any = source.content
        for key in where:
            node = node[key]
        odd = [key for key in node if not isinstance(key, str)]
        got = ", ".join(_quoted(key, where[-1:] == ("classes",)) for key in odd)
        return source.error(where, f"keys must be text, got {got}")
    return source.error(
        path, f"unknown key {shown(path[-1])}; {nearest(path[-1], _valid_keys(path))}"
    )


def _quoted(key: object, is_name: bool) -> str:
    """Return a key that YAML does not read as text, with what to write instead for a name."""
    if isinstance(key, bool):
        words = "yes, on and true" if key else "no, off and false"
        return f"{shown(key)}, as which YAML reads {words}: put the word into quotes"
    return f"{shown(key)}" + f": write it in quotes, '{key}'" * is_name


def _path_of(source: SourceFile, location: tuple[int | str, ...]) -> KeyPath:
    """Return the part of pydantic's location that is in the file, without union members."""
    if location[0] == "space":
        location = (*location[:2], *location[3:])  # the third names the parameter's kind
    if location[:2] == ("data", "source") and location[2:3] in (("one",), ("several",)):
        location = (*location[:2], *location[3:])
    node: Any = source.content
    for depth, key in enumerate(location):
        if isinstance(node, list):
            inside = isinstance(key, int) and key < len(node)
        else:
            inside = isinstance(node, dict) and key in node
        if not inside:
            return location[:depth]
        node = node[key]
    return location


def _valid_keys(path: KeyPath) -> list[str]:
    """Return the keys that are valid at the place of ``path``."""
    if path[0] == "space":
        return [*KINDS, "step", "when", "per_backbone"]
    model: type[BaseModel] = ExperimentConfig
    for key in path[:-1]:  # names of backbones and numbers of sources are no fields
        field = model.model_fields.get(str(key))
        types = [TrialConfig] if key == "training" else leaf_types(field and field.annotation)
        model = next((t for t in types if isinstance(t, type) and issubclass(t, BaseModel)), model)
    return [*model.model_fields, *([EXTENDS] if model is ExperimentConfig else [])]
