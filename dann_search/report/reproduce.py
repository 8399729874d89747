"""Reproduce an experiment: its file, and the commands that run it again."""

import base64
import json
import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.trial import AUTO
from dann_search.results.rows import TrialRow


@dataclass(frozen=True)
class Reproduction:
    """Name and content of an experiment file, and two commands to run beside it.

    ``winner`` trains the best trial alone, ``search`` repeats the whole search.
    """

    file: str
    content: str
    winner: str
    search: str

    @property
    def uri(self) -> str:
        """The file as a link."""
        return f"data:text/yaml;base64,{base64.b64encode(self.content.encode()).decode()}"


def reproduction(experiment: ExperimentConfig, best: TrialRow, trials: int) -> Reproduction:
    """Return what reproduces an experiment of so many trials, and its best trial.

    The file is the resolved experiment: defaults are written out and paths are absolute. The best
    trial keeps the whole space, because images are packed at the size of its largest backbone.
    """
    file = f"{experiment.name}.yaml"
    content = experiment.model_dump(mode="json", exclude_none=True)
    if experiment.data.source_splits is None:  # without it, the source would get the default
        content["data"]["source_splits"] = None
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    sets: dict[str, Any] = {
        "search.scheduler": "none",
        "search.sampler": "random",
        "search.published_first": False,
        "search.start_points": [best.params] if best.params else [],
        "search.budget": {},
        "search.confirm": None,
        "search.warm_start": None,
    }
    if experiment.fixed.precision == AUTO:  # another machine may take another
        sets["training.precision"] = best.config["precision"]
    words = ["dann-search", "launch", file]
    winner = [*words, "--name", f"{experiment.name}-best", "--trials", "1"]
    for key, value in sets.items():
        winner += ["--set", f"{key}={json.dumps(value)}"]
    search = [*words, "--name", f"{experiment.name}-again", "--trials", str(trials)]
    return Reproduction(file, text, shlex.join(winner), shlex.join(search))
