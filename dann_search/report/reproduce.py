"""What it takes to get the same results again: the experiment as a file, and two commands."""

import json
import shlex
from dataclasses import dataclass

import yaml

from dann_search.config.experiment import Experiment
from dann_search.results.reader import TrialRow


@dataclass(frozen=True)
class Reproduction:
    """An experiment file by name and content, and what to run beside it.

    ``winner`` trains the best trial alone and ``search`` the whole search.
    """

    file: str
    content: str
    winner: str
    search: str


def reproduction(experiment: Experiment, best: TrialRow, trials: int) -> Reproduction:
    """Of an experiment, its best trial, and as many trials as it had in the end.

    The file is the resolved experiment: every default as it was, every path absolute. The best
    trial keeps the space around it, since images are packed at the size its widest backbone needs.
    """
    file = f"{experiment.name}.yaml"
    content = experiment.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    sets = {
        "search.scheduler": "none",
        "search.sampler": "random",
        "search.published_first": False,
        "search.start_points": [best.params] if best.params else [],
        "search.budget": {},
        "search.confirm": None,
        "search.warm_start": None,
    }
    words = ["dann-search", "launch", file]
    winner = [*words, "--name", f"{experiment.name}-best", "--trials", "1"]
    for key, value in sets.items():
        winner += ["--set", f"{key}={json.dumps(value)}"]
    search = [*words, "--name", f"{experiment.name}-again", "--trials", str(trials)]
    return Reproduction(file, text, shlex.join(winner), shlex.join(search))
