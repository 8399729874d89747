"""From two domains to whether adaptation helps: search, evaluate, compare, report."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dann_search.api import launching, retraining
from dann_search.api.adapt_plan import (
    COMPARE_SHARE,
    FINE_TUNED_TRIALS,
    SEARCH_SHARE,
    checked_backbones,
    default_name,
    domain_section,
    experiment_content,
    fine_tuned,
    fitting_size,
    seconds_of,
)
from dann_search.api.display import Display
from dann_search.config.load import load_experiment, read_source
from dann_search.config.trial import adapting
from dann_search.data.open_domain import open_pair
from dann_search.errors import InputError, RunError
from dann_search.evaluation.baselines import ADABN, SOURCE_PLUS_FEW
from dann_search.evaluation.comparison import BASE, stronger
from dann_search.models.registry import spec_of, stage_counts
from dann_search.outputs.comparison import Adapted, Comparison
from dann_search.outputs.models import Evaluation
from dann_search.outputs.search import SearchEnded
from dann_search.results.leaderboard import finished
from dann_search.results.reader import read_experiment, read_trials
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.remote_folder import cache_folder
from dann_search.study.record import recorded_store

START_S = 15.0
"""Seconds from launch until a search has its workers, which its own budget does not count."""
LEAST_S = 10.0
"""Seconds that a search gets at least; below, fine-tuning is not begun."""
COMPARE_START_S = 20.0
"""Seconds until the trainings of a comparison begin, at most."""
MOST_SEEDS = 5


def adapt(
    source: str | Path | Mapping[str, Any],
    target: str | Path | Mapping[str, Any],
    *,
    budget: str = "30m",
    backbones: Sequence[str] | None = None,
    name: str | None = None,
    storage: str | Path | None = None,
    sets: Sequence[str] = (),
    display: Display | None = None,
    progress: Callable[[str], None] | None = None,
) -> Adapted:
    """Tell whether adaptation helps on two domains: search, evaluate, compare, write the report.

    ::

        result = dann_search.adapt("catalogue", "phone", budget="30m")
        print(result.answer)

    The search tries frozen features of every backbone first, then fine-tunes the best few. It ends
    after half of the budget. The comparison, with two to five seeds, ends after nine tenths; the
    rest is for the report. If it was interrupted, the same call continues.

    Args:
        source: folder, manifest or embedded data set; or what an experiment file says of one.
        target: the same; its labels, if it has any, choose the model and measure it.
        budget: time for everything, such as ``90s``, ``30m`` or ``2h``.
        backbones: names of backbones; two small ones by default.
        name: name of the experiment; that of both domains by default.
        storage: folder of experiments, or its URL.
        sets: overrides such as ``"data.image_size=128"``, as of an experiment file.
        display: shows the search; by default as ``launch`` does.
        progress: called with a line for each training that ends, and each step of the report.

    Raises:
        InputError: the input is invalid; nothing was started.
        RunError: no trial ended within the budget, or all failed.
        KeyboardInterrupt: the user interrupted; what was trained is kept.
    """
    clock = _Clock(seconds_of(budget))
    data = {"source": domain_section(source), "target": domain_section(target)}
    name = name or default_name(**data)
    planned = _Planned(data, checked_backbones(backbones), name, storage, tuple(sets), clock)
    folder, ended = _search(planned, display or Display())
    evaluation, comparison = _measured(folder, clock, progress)
    notes: list[str] = []
    return Adapted(
        experiment=str(folder),
        answer=_answer(folder, evaluation, comparison),
        search=ended,
        evaluation=evaluation,
        comparison=comparison,
        report=_report(folder, progress, notes),
        budget_s=clock.budget_s,
        elapsed_s=round(clock.elapsed(), 1),
        notes=notes,
    )


@dataclass(frozen=True)
class _Clock:
    budget_s: float
    begun: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        return time.monotonic() - self.begun

    def left(self, share: float) -> float:
        """Return the seconds until this share of the budget is over."""
        return share * self.budget_s - self.elapsed()


@dataclass(frozen=True)
class _Planned:
    """What is to be searched, as the user said it."""

    data: Mapping[str, Any]
    backbones: Sequence[str]
    name: str
    storage: str | Path | None
    sets: tuple[str, ...]
    clock: _Clock

    def content(self) -> dict[str, Any]:
        """Return the content of an experiment file without sizes, as ``launch`` takes it."""
        return experiment_content(self.data, self.backbones, self.pretrained, self.hours)

    @property
    def pretrained(self) -> list[str]:
        """Backbones with pre-trained weights."""
        files = read_source({}, sets=self.sets).content.get("weights", {})
        return [one for one in self.backbones if spec_of(one).weights or one in files]

    @property
    def hours(self) -> float:
        """Hours that a search begun now may take."""
        return max(self.clock.left(SEARCH_SHARE) - START_S, LEAST_S) / 3600

    @property
    def options(self) -> dict[str, Any]:
        return {"name": self.name, "storage": self.storage, "sets": self.sets}


def _search(planned: _Planned, display: Display) -> tuple[ExperimentFolder, SearchEnded]:
    """Run or continue the search: frozen features first, then the best of them fine-tuned."""
    content = planned.content()
    experiment, _ = load_experiment(content, stage_counts(), **planned.options)
    folder = ExperimentFolder.at(experiment.place)
    folder.fetch(folder.record)
    if not folder.record.exists():
        with display.stage("reading images"):
            pair = open_pair(experiment.data, cache_folder())
        images = max(
            round(len(domain) * experiment.data.splits_of(role).train)
            for role, domain in pair.by_role.items()
        )
        side = experiment.data.crop_size or experiment.data.image_size
        frozen = planned.pretrained == list(planned.backbones)
        budget_s = planned.clock.budget_s
        size = fitting_size(planned.backbones, images, budget_s, side, frozen=frozen)
        content["training"]["epochs"] = size.epochs
        content["data"].setdefault("image_size", size.side)
        content["search"]["budget"]["hours"] = planned.hours
        ended = launching.launch(content, display=display, **planned.options)
    elif read_experiment(folder).data != experiment.data.model_copy(
        update={"image_size": read_experiment(folder).data.image_size}
    ):
        raise InputError(
            f"the experiment '{planned.name}' exists already in {folder}, of other domains; choose "
            f"another name: --name {planned.name}-2"
        )
    else:
        more = [f"search.budget.hours={planned.hours:.6f}"]  # of this command, perhaps larger
        ended = _before(folder) or launching.resume(folder.root, sets=more, display=display)
    _stop_if_interrupted(ended)
    points = read_experiment(folder).search.start_points
    seconds = planned.clock.left(SEARCH_SHARE) - START_S
    frozen = bool(points) and all(point["unfrozen_depth"] == 0 for point in points)
    if frozen and ended.best and seconds > LEAST_S:
        best = [row.config for row in finished(read_trials(folder))]
        sets = [
            f"search.start_points={json.dumps(fine_tuned(best))}",
            f"search.budget.hours={planned.hours:.6f}",
        ]
        ended = launching.resume(
            folder.root, add_trials=FINE_TUNED_TRIALS, sets=sets, display=display
        )
        _stop_if_interrupted(ended)
    if ended.best is None:
        raise RunError(
            f"{folder}: no training ended within the search's share of the budget; what was "
            "trained is kept; continue with a larger --budget, or choose smaller --backbones"
        )
    return folder, ended


def _before(folder: ExperimentFolder) -> SearchEnded | None:
    """Return how the search ended before; None if it has to be continued."""
    folder.fetch(folder.result)
    if not folder.result.exists():
        return None
    ended = SearchEnded.model_validate_json(folder.result.read_bytes())
    return ended if ended.best and ended.stopped_by != "interrupt" else None


def _stop_if_interrupted(ended: SearchEnded) -> None:
    if ended.stopped_by == "interrupt":
        raise KeyboardInterrupt("interrupted; what was trained is kept; the same command continues")


def _measured(
    folder: ExperimentFolder, clock: _Clock, progress: Callable[[str], None] | None
) -> tuple[Evaluation | None, Comparison | None]:
    """Evaluate the best model and compare it, where the target has labels."""
    if not recorded_store(folder).target_labelled:
        return None, None
    from dann_search.evaluation.evaluate import evaluate_target

    return evaluate_target(str(folder), None), _compare(folder, clock, progress)


def _compare(
    folder: ExperimentFolder, clock: _Clock, progress: Callable[[str], None] | None
) -> Comparison | None:
    """Compare with as many seeds as the budget allows; None if it allows not even two."""
    winner = finished(read_trials(folder))[0].config["method"]
    few = [SOURCE_PLUS_FEW] if recorded_store(folder).few_labels else []
    others = [] if winner in adapting() else ["dann"]
    methods = list(dict.fromkeys([winner, BASE, *few, ADABN, *others]))

    def compared(seeds: int) -> Comparison | None:
        return _until(
            clock.left(COMPARE_SHARE),
            lambda stop: retraining.compare(
                folder.root, methods=methods, seeds=seeds, progress=progress, stop=stop
            ),
        )

    before = clock.elapsed()
    found = compared(2)
    if found is None:
        return None
    a_seed = max((clock.elapsed() - before) / 2, 1.0)
    more = int((clock.left(COMPARE_SHARE) - COMPARE_START_S) / a_seed)
    return (compared(min(MOST_SEEDS, 2 + more)) if more > 0 else None) or found


def _until(seconds: float, run: Callable[[threading.Event], Comparison]) -> Comparison | None:
    """Run a comparison; None if it did not end in so many seconds."""
    stop, late = threading.Event(), threading.Event()

    def end() -> None:
        late.set()
        stop.set()

    timer = threading.Timer(max(0.0, seconds), end)
    timer.daemon = True
    timer.start()
    try:
        return run(stop)
    except KeyboardInterrupt:
        if late.is_set():
            return None
        raise
    finally:
        timer.cancel()


def _report(
    folder: ExperimentFolder, progress: Callable[[str], None] | None, notes: list[str]
) -> str | None:
    from dann_search.report import write_report

    try:
        return write_report(folder, force=True, progress=progress or (lambda line: None)).report
    except InputError as exc:
        notes.append(f"there is no report: {exc}")
        return None


def _answer(
    folder: ExperimentFolder, evaluation: Evaluation | None, comparison: Comparison | None
) -> str:
    """Say in plain words whether adaptation helps, with the numbers and their interval."""
    if evaluation is None:
        return (
            "whether adaptation helps here cannot be measured: the target has no labels. Label "
            "about 10 images of each class, put them into one folder for each class, and run: "
            f"dann-search evaluate {folder} --data FOLDER"
        )
    if comparison is None:
        low, high = evaluation.ci95["f1_macro"]
        return (
            "whether adaptation helps here is not known: the budget ended before the comparison "
            f"did. The model has macro-F1 {evaluation.f1_macro:.3f} (95 % interval {low:.3f} to "
            f"{high:.3f}) on {evaluation.n} test images. The same command with a larger --budget "
            "continues"
        )
    methods, winner = comparison.methods, comparison.winner
    bases = [name for name in (SOURCE_PLUS_FEW, BASE) if name in methods and name != winner]
    if not bases or not (lead := methods[base := stronger(bases[0], methods)].lead):
        return comparison.verdict
    with_, without = (methods[name].f1_macro_test.mean for name in (winner, base))
    low, high = lead.ci95
    return (
        f"{comparison.verdict}. In short: on {comparison.n_test} test images macro-F1 is "
        f"{with_:.3f} with {winner} and {without:.3f} with {base}, a difference of "
        f"{lead.mean:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"
    )
