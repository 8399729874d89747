"""Read the trials of another experiment, for a new search to learn from."""

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.paths import WARM_START
from dann_search.config.source import SettingError
from dann_search.config.start_points import KnownTrial
from dann_search.errors import InputError, RunError
from dann_search.results.reader import find_experiment, read_experiment, read_trials


def known_trials(experiment: ExperimentConfig) -> list[KnownTrial]:
    """Return the completed trials of the experiment in ``search.warm_start``; none without the key.

    Raises:
        InputError: there is no such experiment, or it has another objective.
    """
    if experiment.search.warm_start is None:
        return []
    try:
        folder = find_experiment(experiment.search.warm_start, experiment.storage)
        other, rows = read_experiment(folder), read_trials(folder)
    except (InputError, RunError) as exc:  # also if storage does not answer
        raise SettingError(WARM_START, str(exc)) from None
    if other.search.objective != experiment.search.objective:
        raise SettingError(
            WARM_START,
            f"{folder.root} was searched by {other.search.objective}, "
            f"this experiment by {experiment.search.objective}: their values cannot be compared",
        )
    found = [
        KnownTrial(f"{other.name} trial {row.number}", row.config, row.score)
        for row in rows
        if row.state == "completed" and row.score is not None
    ]
    if not found:
        raise SettingError(WARM_START, f"{folder.root} has no completed trial")
    return found
