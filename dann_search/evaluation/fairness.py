"""What the methods of a comparison share, and what one of them has over the others."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.parameter import Choice
from dann_search.config.trial import TrialConfig
from dann_search.data.store import StoreInfo
from dann_search.errors import counted
from dann_search.evaluation.baselines import TLLIB, TUNED, uses_few
from dann_search.inference.model_card import of_each
from dann_search.outputs.comparison import Fairness, Tuned
from dann_search.results.rows import TrialRow
from dann_search.training.result import F1_MACRO

NOT_TUNED: Mapping[str, int] = MappingProxyType({})


def fairness(
    experiment: ExperimentConfig,
    rows: Sequence[TrialRow],
    winner: TrialConfig,
    methods: Sequence[str],
    seeds: Sequence[int],
    info: StoreInfo,
    tuned: Mapping[str, int] = NOT_TUNED,
) -> Fairness:
    """State the terms on which methods are compared; ``tuned`` has the trials of own searches."""
    own = [row for row in rows if row.confirms is None]
    searched = experiment.space.get("method")
    objective = experiment.search.objective
    terms = Fairness(
        epochs=winner.epochs,
        batch_size=winner.batch_size,
        sizes=info.sizes,
        hashes=info.hashes,
        objective=objective,
        tuned=Tuned(
            method=winner.method,
            trials=sum(row.state in ("completed", "pruned") for row in own),
            among=list(map(str, searched.choice))
            if isinstance(searched, Choice)
            else [winner.method],
            target_val_labels=info.sizes["target"]["val"] if objective == F1_MACRO else 0,
        ),
        few_labels=info.few_labels,
        notes=[],
    )
    unfinished = sum(row.state == "running" for row in own)
    return terms.model_copy(update={"notes": sentences(terms, methods, seeds, unfinished, tuned)})


def sentences(
    terms: Fairness,
    methods: Sequence[str],
    seeds: Sequence[int],
    unfinished: int,
    own_trials: Mapping[str, int] = NOT_TUNED,
) -> list[str]:
    """Say the terms in sentences.

    ``unfinished`` is the number of trials that the search has not ended yet, ``own_trials`` that of
    the search of each baseline that was tuned.
    """
    tuned = terms.tuned
    chooser = f"{terms.objective}, without target labels"
    if terms.objective == F1_MACRO:
        chooser = f"macro-F1 on {tuned.target_val_labels} target val labels"
    notes = [
        f"shared by all: images and splits, {terms.epochs} epochs, batches of {terms.batch_size}, "
        f"seeds {', '.join(map(str, seeds))}; of each run the best epoch by {chooser}"
    ]
    if terms.few_labels:
        few = sum(terms.few_labels)
        without = [name for name in methods if not uses_few(name.removesuffix(TUNED))]
        notes.append(
            f"{few} labels of target train ({of_each(terms.few_labels)}) were trained on by all "
            + (f"but {', '.join(without)}" if without else "methods")
        )
    inheriting = [name for name in methods if name not in (tuned.method, TLLIB, *own_trials)]
    if inheriting:
        what = f"recipe of {tuned.method}"
        if len(tuned.among) > 1:
            what = f"recipe and the method, among {', '.join(tuned.among)},"
        notes.append(
            f"not shared: {counted(tuned.trials, 'trial')} tuned the {what} by {chooser}; "
            f"{', '.join(inheriting)} inherit{'s' * (len(inheriting) == 1)} it untuned, which "
            f"favours {tuned.method}"
        )
    if own_trials:
        counts = sorted(set(own_trials.values()))
        notes.append(
            f"{', '.join(own_trials)}: each the best recipe of a search of its own, by {chooser}, "
            f"of {' or '.join(map(str, counts))} trials in the same space, less what the method "
            "lacks; backbone and batch size are its own where they were searched"
        )
    if TLLIB in methods:
        notes.append(f"{TLLIB} is tllib's default recipe, tuned to no target")
    if unfinished:
        notes.append(
            f"{counted(unfinished, 'trial')} of the search not ended yet: resume it first?"
        )
    return notes
