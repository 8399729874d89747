"""A cluster file held against Ray's validation, our own, and the search it is to carry."""

from collections.abc import Sequence
from pathlib import Path

from dann_search.cluster.file.check import SpaceToRun, check_cluster
from dann_search.cluster.file.finding import Finding
from dann_search.cluster.launcher_schema import add_what_ray_says
from dann_search.config.extends import read_extended
from dann_search.config.load import load_experiment, override
from dann_search.config.source import read_yaml
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts


def validate_cluster(
    cluster: Path,
    space: Path | None = None,
    storage: str | None = None,
    sets: Sequence[str] = (),
) -> list[Finding]:
    """Everything wrong with a launcher's file, errors first.

    Args:
        cluster: the file.
        space: the search it is to carry.
        storage: where its experiments are to lie, if not where the space says.
        sets: overrides of the space such as ``"resources.workers_per_trial=2"``.

    Raises:
        InputError: one of the files cannot be read, or is no file of its kind.
    """
    source = read_yaml(cluster, keys=("cluster_name", "provider"))
    if "apiVersion" in source.content:
        kind = source.content.get("kind", "without a kind")
        raise InputError(
            f"{cluster}: a Kubernetes manifest ({kind}), not a file for ray up; "
            f"ask the cluster: kubectl apply --dry-run=server -f {cluster}"
        )
    notes = check_cluster(source, _space_to_run(space, storage, sets))
    add_what_ray_says(notes)
    return notes.in_order


def _space_to_run(
    space: Path | None, storage: str | None, sets: Sequence[str]
) -> SpaceToRun | None:
    if space is None:
        given = [f"--storage {storage}"] if storage is not None else []
        for option in [*given, *(f"--set {item}" for item in sets)]:
            raise InputError(f"{option}: is about a search; name its file with --space")
        return None
    experiment, _ = load_experiment(
        space, stage_counts(), sets=sets, storage=storage, check_files=False
    )
    source = read_extended(space)
    override(source, sets)
    origin = f"--storage {storage}" if storage is not None else None
    return SpaceToRun(source, experiment, str(experiment.storage), origin)
