"""What the report says, what it refuses, and that no name becomes a part of the page."""

import base64
import fcntl
import importlib.util
import io
import json
import re
import shlex
import shutil
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image

from dann_search.cli import main
from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.data.store import UNLABELLED
from dann_search.errors import InputError
from dann_search.evaluation.evaluate import evaluate_target
from dann_search.inference.best import write_best
from dann_search.models.registry import stage_counts
from dann_search.outputs.report import CalibrationOn, Report
from dann_search.outputs.shared import ClassRow, Confirmation
from dann_search.report import write_report
from dann_search.report.content import Content, gather
from dann_search.report.context import context
from dann_search.report.figures import paper
from dann_search.report.figures.catalog import FIGURES, draw
from dann_search.report.figures.paper import KINDS, export
from dann_search.report.page import render
from dann_search.report.search import cost_of
from dann_search.report.shift import domain_shift
from dann_search.report.write import summarize
from dann_search.results.insight import ParameterImportance
from dann_search.results.leaderboard import leaderboard, ranked
from dann_search.results.reader import read_experiment, read_trials
from dann_search.search.launch import prepare
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study import StudyRecord
from dann_search.study.study_names import SPENT
from dann_search.training.job import TrainingJob
from tests.browser import needs_browser
from tests.finished_experiment import search_here
from tests.json_output import printed
from tests.report.conftest import FORMULA, HOSTILE
from tests.train_here import train_here

MEGABYTES = 1_000_000
WRITTEN = Path(__file__).parents[1] / "evaluation" / "written_by_0_1_0"


class Page(HTMLParser):
    """A page as a browser takes it: tags with their attributes, and the text between them."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        # Of a script or a style sheet: nothing that is shown.
        if self.cdata_elem is None:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@dataclass(frozen=True)
class Written:
    """A report on a search that was evaluated and compared, or on one that was not."""

    folder: ExperimentFolder
    content: Content
    report: Report

    @property
    def text(self) -> str:
        return self.report.file.read_text()


@pytest.fixture(scope="module")
def bare(few_images: ExperimentFolder, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Neither evaluated nor compared; read only."""
    root = tmp_path_factory.mktemp("bare") / few_images.root.name
    shutil.copytree(few_images.root, root)
    return written(ExperimentFolder(root))


@pytest.fixture(scope="module")
def whole(few_images: ExperimentFolder, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Evaluated and compared; then its test split was deleted. Read only."""
    root = tmp_path_factory.mktemp("whole") / few_images.root.name
    shutil.copytree(few_images.root, root)
    folder = ExperimentFolder(root)
    evaluate_target(root)
    leave_comparison(folder, compared(folder))
    for part in ("labels", "images"):
        (folder.data / f"target.test.{part}.npy").unlink()
    return written(folder)


def written(folder: ExperimentFolder) -> Written:
    """Write the report; keep what it shows."""
    contents: list[Content] = []

    def gathered(*arguments: Any) -> Content:
        contents.append(gather(*arguments))
        return contents[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dann_search.report.content.gather", gathered)
        report = write_report(folder)
    return Written(folder, contents[0], report)


@pytest.fixture
def already_gathered(bare: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the run of the model where only what is done with its results is tested."""
    monkeypatch.setattr("dann_search.report.content.gather", lambda *_: bare.content)


def of_files(few: ExperimentFolder) -> Content:
    """What a report shows of an experiment without running its model."""
    return gather(few, lambda line: None, run_model=False)


def page_of(content: Content) -> Page:
    return Page(render(content, "today"))


def plots_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="report">(.*?)</script>', page)
    assert found
    plots: dict[str, Any] = json.loads(found[1])["plots"]
    return plots


def compared(few: ExperimentFolder) -> dict[str, Any]:
    """What ``compare`` of version 0.1.0 wrote, of this experiment's best trial."""
    content: dict[str, Any] = json.loads((WRITTEN / "comparison.json").read_text())
    return content | {"trial": ranked(read_trials(few))[0].number}


def leave_comparison(few: ExperimentFolder, content: dict[str, Any]) -> None:
    few.compare.mkdir()
    (few.compare / "comparison.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("done", "expected", "not_said"),
    [
        (1, "The confirmation is incomplete, 1 of 4 trainings", "the best of all finalists"),
        (4, "it reached 0.750 on average, the best of all finalists", "incomplete"),
    ],
)
def test_a_finalist_is_the_best_of_all_only_once_the_confirmation_is_whole(
    bare: Written, done: int, expected: str, not_said: str
) -> None:
    content = bare.content
    best = replace(content.best, confirmed=(0.7, 0.8), is_confirmed=done == 4)
    state = content.status.model_copy(update={"confirmation": Confirmation(done=done, of=4)})
    choice = context(replace(content, best=best, status=state))["choice"]
    assert expected in choice and not_said not in choice


def test_key_numbers_are_those_of_the_other_commands(whole: Written) -> None:
    test = json.loads((whole.folder.best / "evaluation.json").read_text())
    report, content = whole.report, whole.report.model_dump(mode="json")
    best = leaderboard(whole.folder).model_dump()["trials"][0]
    assert report.file == whole.folder.root / "report" / "index.html"
    assert content["bytes"] == report.file.stat().st_size < 5 * MEGABYTES
    assert (content["trial"], content["f1_macro_val"]) == (best["trial"], best["f1_macro_val"])
    for name in ("n", "accuracy", "f1_macro", "precision_macro", "recall_macro"):
        assert content["test"][name] == test[name]
    assert list(content["test"]["ci95"]["f1_macro"]) == test["ci95"]["f1_macro"]
    low, high = content["ci95_val"]
    assert low <= content["f1_macro_val"] <= high
    assert content["trials"] == {"completed": 2, "pruned": 1, "failed": 1, "running": 0}
    assert not content["partial"]
    text = Page(whole.text).text
    for number in (best["f1_macro_val"], test["f1_macro"], *test["ci95"]["f1_macro"]):
        assert f"{number:.3f}" in text
    printed("report", json.dumps(content))


def with_backbones(content: Content, *names: str) -> Content:
    """As if each backbone's depth had been searched."""
    search = content.search
    depths = {f"unfrozen_depth.{name}": search.slices["unfrozen_depth"] for name in names}
    found = [ParameterImportance(name, 0.5, 3, True) for name in depths]
    return replace(
        content,
        search=replace(
            search,
            slices=search.slices | depths,
            importance=replace(search.importance, parameters=found),
        ),
    )


def test_no_name_becomes_a_tag_a_script_or_a_formula(whole: Written) -> None:
    text = render(with_backbones(whole.content, HOSTILE, FORMULA), "today")
    page = Page(text)
    assert f"unfrozen_depth of {HOSTILE} (stages)" in page.text
    assert f"unfrozen_depth of {FORMULA} (stages)" in page.text
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert len(scripts) == 4 and not any("src" in one for one in scripts)
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), attributes
        assert tag not in ("i", "iframe", "object", "base", "form")
        for name in ("src", "href", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/", "data:text/yaml;base64,")), value
    assert HOSTILE in page.text and FORMULA in page.text  # as text, and not evaluated
    # Plotly takes tags in text for markup.
    inside = json.dumps(plots_of(text))
    assert "<img" not in inside and "<b>" not in inside and "&lt;/script" in inside


@needs_browser
def test_every_figure_is_drawn_as_png_and_svg_whatever_classes_are_called(whole: Written) -> None:
    figures = draw(whole.content)
    drawn = export(figures | {"again": figures["learning_curves"]})
    for kind in KINDS:  # the same figure gives the same file
        assert drawn.pop(f"again.{kind}") == drawn[f"learning_curves.{kind}"]
    expected = {f"{name}.{kind}" for name in FIGURES for kind in KINDS}
    # Six trials and more make a parameter's importance.
    assert {*drawn} == expected - {"importance.png", "importance.svg"}
    for name, content in drawn.items():
        if name.endswith(".png"):
            with Image.open(io.BytesIO(content)) as picture:
                # One column of a paper or both, at 300 dots an inch.
                assert picture.width >= 1000 and picture.info["dpi"][0] == pytest.approx(300, 0.01)
        else:
            svg = ElementTree.fromstring(content)
            assert svg.get("width") in ("326", "672")  # the same columns, 96 pixels an inch
            assert not [one for one in svg.iter() if one.tag.endswith(("}img", "}b"))]
            if name == "features_by_class.svg":
                names = {f"{HOSTILE[:39]}…", FORMULA}
                assert names <= {"".join(text.itertext()) for text in svg.iter()}


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("kaleido", r"needs kaleido: pip install 'dann-search\[report\]'"),
        ("browser", r"and none is installed: install Chromium"),
        ("the browser named", r"and /nowhere/chrome does not exist: install Chromium"),
    ],
)
def test_without_what_figures_need_nothing_is_written_and_its_name_is_said(
    few: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], missing: str, said: str,
) -> None:  # fmt: skip
    there = importlib.util.find_spec
    if missing == "kaleido":
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == missing else there(name)
        )
    elif missing == "browser":
        monkeypatch.setattr(
            "choreographer.browsers.chromium.Chromium.find_browser", lambda skip_local: None
        )
    else:
        monkeypatch.setenv("BROWSER_PATH", "/nowhere/chrome")
    assert main(["report", str(few.root), "--figures", str(tmp_path / "figures")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line)
    assert not (few.root / "report").exists() and not (tmp_path / "figures").exists()


@pytest.mark.usefixtures("already_gathered")
def test_a_browser_that_fails_is_an_error_before_anything_is_written(
    few: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(broken))
    with pytest.raises(InputError, match="the browser failed: BrowserFailedError"):
        write_report(few, figures=tmp_path / "figures")
    assert not (few.root / "report").exists() and not (tmp_path / "figures").exists()


def enlarged(
    content: Content, *, trials: int, epochs: int, classes: int, parameters: int
) -> Content:
    """The same search as if it were so large; scores have all their digits."""
    rng, search, space = np.random.default_rng(0), content.search, content.experiment.space
    assert content.inside and content.inside.val
    rows = [search.rows[0]]
    rows += [replace(rows[0], number=number) for number in range(10, 9 + trials)]
    points = {
        name: [replace(point, trial=row.number) for row in rows]
        for name, (point, *_) in search.slices.items()
    }
    names = [f"class number {label}" for label in range(classes)]
    row = {"precision": 0.5, "recall": 0.5, "n": 40}
    scores = [ClassRow.model_validate({"class": n, "f1": rng.random(), **row}) for n in names]
    confusion = rng.poisson(0.3, (classes, classes)).tolist()
    val = content.inside.val.model_copy(update={"per_class": scores, "confusion": confusion})
    labels = rng.integers(0, classes, len(content.inside.source_labels))
    copies = range(parameters // len(space))
    wide = {f"{name}{copy or ''}": one for name, one in space.items() for copy in copies}
    return replace(
        content,
        experiment=content.experiment.model_copy(update={"space": wide}),
        search=replace(
            search,
            rows=rows,
            curves={one.number: rng.random(epochs).tolist() for one in rows},
            history=[replace(search.history[0], trial=row.number) for row in rows],
            slices=points,
        ),
        info=replace(content.info, class_names=names),
        inside=replace(content.inside, source_labels=labels, val=val),
    )


def test_a_large_search_of_many_classes_stays_below_five_megabytes(bare: Written) -> None:
    large = enlarged(bare.content, trials=1000, epochs=20, classes=345, parameters=32)
    page = render(large, "today")
    assert 2 * MEGABYTES < len(page.encode()) < 5 * MEGABYTES
    assert "the 150 of lowest F1" in page and "lowest trials are left out" in page


def test_a_long_search_of_a_thousand_classes_says_what_it_leaves_out(bare: Written) -> None:
    large = enlarged(bare.content, trials=3000, epochs=200, classes=1000, parameters=4)
    page = render(large, "today")
    assert 2 * MEGABYTES < len(page.encode()) < 5 * MEGABYTES
    assert "1,000 of 3,000 best trials. One epoch in 10 of each, and its last." in page
    assert "of 3,000 trials, evenly taken." in page and "1,600 of 3,000 best trials." in page
    assert "1,500 of 3,000 trials." in page and "Of 1000 classes the 150 of lowest F1" in page


def test_the_page_asks_no_network_and_runs_only_its_own_scripts(bare: Written) -> None:
    page = Page(bare.text)
    (policy,) = [a["content"] for tag, a in page.tags if "http-equiv" in a and tag == "meta"]
    assert policy and policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy and "http" not in policy
    assert re.fullmatch(r"(?!.*script-src[^;]*unsafe).*", policy)


def test_test_labels_are_never_opened_and_are_not_needed(whole: Written) -> None:
    assert whole.report.test is not None and whole.report.ece is not None
    assert not list(whole.folder.data.glob("target.test.*.npy"))
    assert not (whole.folder.data / ".".join([*UNLABELLED, "labels", "npy"])).exists()


def test_what_was_not_run_is_said_with_the_command_that_runs_it(bare: Written) -> None:
    text = Page(bare.text).text
    assert f"dann-search evaluate {bare.folder}" in text
    assert f"dann-search compare {bare.folder}" in text
    assert bare.report.test is None and bare.report.baselines is None
    assert "validation split" in text


def test_scores_of_another_model_are_not_passed_off_as_the_best_ones(few: ExperimentFolder) -> None:
    second = ranked(read_trials(few))[1].number
    write_best(few, trial=second, out=few.best)
    evaluate_target(few.best)
    leave_comparison(few, compared(few) | {"trial": second})
    content = of_files(few)
    assert content.test is None and content.compared is None
    assert len([note for note in content.notes if f"trial {second}" in note]) == 2


@pytest.mark.parametrize("content", ["{", "[]", '{"methods": {}, "trial": 0, "seeds": []}'])
def test_a_damaged_comparison_is_a_note_not_a_failure(few: ExperimentFolder, content: str) -> None:
    few.compare.mkdir()
    (few.compare / "comparison.json").write_text(content)
    assert any("comparison.json cannot be read" in note for note in of_files(few).notes)


def test_a_comparison_is_shown_with_intervals_and_p_values_where_it_has_them(
    whole: Written,
) -> None:
    content = whole.report.model_dump(mode="json")
    written = compared(whole.folder)
    spread = written["methods"]["dann"]["f1_macro_test"]
    assert content["baselines"]["dann"] == {"mean": spread["mean"], "sd": spread["sd"]}
    lead = written["methods"]["source_only"]["difference"]["f1_macro"]
    text = Page(whole.text).text
    low, high = lead["ci95"]
    assert f"{lead['mean']:+.3f}" in text and f"{low:+.3f} to {high:+.3f}" in text
    assert f"p = {lead['p_value']:.3g}" in text
    assert written["verdict"] in text and written["fairness"]["notes"][0] in text
    labels = plots_of(whole.text)["baselines"]["data"][1]["y"]
    assert labels == ["source_only", "dann"]  # by another name it is not drawn again


def test_the_gain_is_over_the_stronger_recipe_of_source_only(few: ExperimentFolder) -> None:
    content = compared(few)
    base = content["methods"]["source_only"]
    score = base["f1_macro_test"] | {"mean": base["f1_macro_test"]["mean"] + 0.01}
    own = {"method": "source_only", "trials": 7, "trial": 3, "score": 0.6, "folder": "own"}
    gap = {name: one | {"mean": 0.1234} for name, one in base["difference"].items()}
    twin = {"f1_macro_test": score, "difference": gap, "tuned": own | {"searched": []}}
    content["methods"]["source_only_tuned"] = base | twin
    leave_comparison(few, content)
    text = page_of(of_files(few)).text
    assert "over source_only_tuned, test" in text and "+0.123" in text
    assert "by 7 trials of its own" in text


def test_the_network_without_adaptation_is_shown_where_the_comparison_names_it(
    few: ExperimentFolder,
) -> None:
    experiment, best = read_experiment(few), ranked(read_trials(few))[0]
    config = TrialConfig(**best.config).model_copy(update={"method": "source_only", "seed": 1})
    run = few.compare / "source_only-seed1-0123abcd"
    plain = TrainingJob(
        name="plain", experiment=few, config=config, folder=run, store=few.data, epochs=1
    )
    train_here([plain], experiment)
    content = compared(few)
    content["methods"]["source_only"]["runs"] = [run.name, "source_only-seed2-gone"]
    (few.compare / "comparison.json").write_text(json.dumps(content))
    shown = gather(few, lambda line: None).inside
    assert shown
    networks = [one.name for one in shown.domains]
    assert networks == ["before training", "trained without adaptation", "trained by dann"]

    shutil.rmtree(run)
    left = gather(few, lambda line: None)
    assert left.inside and [one.name for one in left.inside.domains] == [networks[0], networks[2]]
    assert any("trained without adaptation is not shown" in note for note in left.notes)


def test_reliability_is_of_the_test_split_where_evaluate_wrote_it(few: ExperimentFolder) -> None:
    evaluate_target(few.root)
    path = few.best / "evaluation.json"
    bins = [
        {"low": 0.0, "high": 0.5, "n": 0, "confidence": None, "accuracy": None},
        {"low": 0.5, "high": 1.0, "n": 8, "confidence": 0.75, "accuracy": 0.625},
    ]
    more = {"reliability": bins, "ece": 0.125, "temperature": 1.5, "nll": 1.0}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    model = few.best / "model.json"
    model.write_text(json.dumps(json.loads(model.read_text()) | {"temperature": 1.5}))
    content = of_files(few)
    report, page = summarize(content, path, 0), render(content, "today")
    assert report.ece == CalibrationOn(split="test", value=0.125)
    assert plots_of(page)["reliability"]["data"][1]["y"] == [0.625]
    assert "logits divided by the temperature 1.5" in Page(page).text


def test_labels_are_said_to_have_chosen_the_model_only_where_they_did(
    bare: Written, few: ExperimentFolder, tmp_path: Path
) -> None:
    text = Page(bare.text).text
    assert "images, whose labels also chose the model: run evaluate" in text
    assert re.search(r"target val \d+ chose the model", text)
    assert "The best of 4 trials by this score" in text
    assert "| chose the model |" in (write_best(few).folder / "README.md").read_text()

    data = yaml.safe_load(few.record.read_text())["experiment"]["data"]
    by_info_max = search_here(
        tmp_path,
        name="label-free",
        training__epochs=1,
        training__batch_size=4,
        search__objective="info_max",
        data__source=data["source"],
        data__target=data["target"],
    )
    text = page_of(gather(by_info_max, lambda line: None)).text
    assert "images, whose labels were not used: run evaluate" in text
    assert re.search(r"target val \d+ only measured it", text)
    assert "Only shown: info_max chose." in text
    card = (write_best(by_info_max).folder / "README.md").read_text()
    assert "| only measured it |" in card and "chosen by a score that needs no target label" in card
    for shown in (text, card):
        assert "only read by scores that need no target label" in shown  # the source's val
        assert "chose the model" not in shown and "optimistic" not in shown


@pytest.mark.usefixtures("already_gathered")
def test_other_files_than_its_own_page_are_kept_unless_force_is_given(
    few: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "check_browser", lambda: None)
    monkeypatch.setattr(paper, "export", lambda figures: {"history.png": b"new"})
    file, figures = few.root / "report" / "index.html", tmp_path / "figures"
    mine = tmp_path / "mine" / "page.html"
    for path in (file, mine, figures / "history.png"):
        path.parent.mkdir()
        path.write_text("old")
    with pytest.raises(InputError, match=r"page\.html: exists already; replace it with --force"):
        write_report(few, mine)
    with pytest.raises(InputError, match=r"figures: holds history\.png already"):
        write_report(few, tmp_path / "other.html", figures=figures)
    assert mine.read_text() == "old" and not (tmp_path / "other.html").exists()
    assert file.read_text() == "old"
    report = write_report(few)
    assert file.stat().st_size == report.bytes > MEGABYTES  # its own page
    report = write_report(few, mine, figures=figures, force=True)
    assert mine.stat().st_size == report.bytes > MEGABYTES
    assert report.figures == [str(figures / "history.png")]
    assert (figures / "history.png").read_text() == "new"


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_done(
    few: ExperimentFolder, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    told: list[str] = []
    for out, words in (
        (tmp_path, "is a folder; name a file in it"),
        (tmp_path / "file" / "x.html", "cannot be written"),
    ):
        with pytest.raises(InputError, match=words):
            write_report(few, out, progress=told.append)
    with pytest.raises(InputError, match="is a file; --figures names a folder"):
        write_report(few, figures=tmp_path / "file", progress=told.append)
    assert not told and not (few.root / "report").exists()


def test_without_the_extra_the_pip_line_is_named(
    few: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "plotly" else there(name)
    )
    with pytest.raises(InputError, match=r"pip install 'dann-search\[report\]'"):
        write_report(few)


def test_an_experiment_behind_a_url_is_fetched_and_its_report_put_there(
    few: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    evaluate_target(few.root)
    files = fsspec.filesystem("memory")
    # All but the packed images: they are packed anew where they are needed.
    shutil.rmtree(few.data)
    files.put(str(few.root), "/bucket/small", recursive=True)
    report = write_report("memory://bucket/small")
    content = report.model_dump(mode="json")
    assert content["experiment"] == "memory://bucket/small"
    assert content["test"] is not None and content["ece"] is not None
    assert files.info("/bucket/small/report/index.html")["size"] == report.bytes
    shutil.rmtree(tmp_path / "cache" / "dann-search" / "experiments")
    files.pipe("/bucket/small/report/index.html", b"old")
    write_report("memory://bucket/small")  # its own page, anew
    assert files.info("/bucket/small/report/index.html")["size"] > MEGABYTES
    files.rm("/bucket", recursive=True)


def test_a_search_that_is_not_over_gives_a_partial_report(few: ExperimentFolder) -> None:
    experiment, space = load_experiment_of(few)
    record = StudyRecord(experiment, space, few)
    record.proposals.add_trials(3)
    record.proposals.keep_total()
    begun = record.next_trial()
    assert begun
    record.report(begun.number, [0.1])
    record.close()
    content = of_files(few)
    report = summarize(content, few.root, 0)
    assert report.partial and report.trials.running == 1
    partial = "This report is partial: the search was interrupted. 4 of 7 trials are over"
    assert partial in page_of(content).text
    with open(few.root / "driver.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert any("the search is still running" in note for note in of_files(few).notes)


def load_experiment_of(folder: ExperimentFolder) -> Any:
    from dann_search.config.space import build_space

    experiment = read_experiment(folder)
    return experiment, build_space(experiment, stage_counts())


def test_where_the_images_are_gone_the_rest_is_reported(few: ExperimentFolder) -> None:
    shutil.rmtree(few.data)
    record = yaml.safe_load(few.record.read_text())
    record["experiment"]["data"]["target"]["folder"] = str(few.root / "gone")
    few.record.write_text(yaml.safe_dump(record))
    content = gather(few, lambda line: None)
    assert any("features, images) is missing" in note for note in content.notes)
    assert summarize(content, few.root, 0).ece is None
    assert "history" in plots_of(render(content, "today"))


def test_hours_are_those_the_search_counted(few: ExperimentFolder) -> None:
    count_hours(few, hours=0.5, cpu_hours=1.5, gpu_hours=0.0)
    content = of_files(few)
    spent = content.search.spent
    assert (spent.hours, spent.cpu_hours, spent.gpu_hours) == (0.5, 1.5, 0.0)
    # Two trials of two epochs, and one of two that was stopped after its first.
    assert (spent.epochs, spent.epochs_saved) == (5, 1)
    text = page_of(content).text
    assert "1.5 CPU-hours" in text and "30m00s" in text and "GPU" not in text


def count_hours(few: ExperimentFolder, **hours: float) -> None:
    experiment, space = load_experiment_of(few)
    record = StudyRecord(experiment, space, few)
    record.study.set_user_attr(SPENT, hours)
    record.close()


def test_hours_saved_are_estimated_from_each_stopped_trials_own_seconds(
    few: ExperimentFolder,
) -> None:
    count_hours(few, hours=9.0, cpu_hours=8.0, gpu_hours=2.0)
    rows = read_trials(few)
    fast, slow = (
        replace(rows[1], number=number, epochs=epochs, config={"epochs": 10})
        for number, epochs in ((1, 4), (7, 2))
    )
    # 6 epochs of (20 + 40) / 2 seconds are spared, and 8 of 450: 3780 seconds.
    for row, seconds in ((fast, (20, 40)), (slow, (450,))):
        file = few.trial_record(row.number)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"history": [{"seconds": one} for one in seconds]}))
    experiment = read_experiment(few)
    takes = experiment.resources.model_copy(update={"workers_per_trial": 2, "cpus_per_worker": 4})
    experiment = experiment.model_copy(update={"resources": takes})
    spent = cost_of(few, experiment, [rows[0], fast, slow])
    assert spent.epochs_saved == 14
    assert spent.cpu_hours_saved == pytest.approx(1.05 * 8)
    assert spent.gpu_hours_saved == pytest.approx(1.05 * 2)  # a trial had 8 CPUs, 2 GPUs
    content = of_files(few)
    page = page_of(replace(content, search=replace(content.search, spent=spent)))
    assert "early stopping saved 14 (64 %), an estimated 2.1 GPU-hours" in page.text
    assert "CPU-hours saved, estimated 8.4" in page.text

    few.trial_record(7).unlink()  # one without times is taken to be as the others
    spent = cost_of(few, experiment, [rows[0], fast, slow])
    assert spent.cpu_hours_saved == pytest.approx(14 * 30 / 3600 * 8)
    few.trial_record(1).unlink()
    for file in few.trial(1).iterdir():
        file.unlink()
    assert cost_of(few, experiment, [fast, slow]).cpu_hours_saved is None


def test_the_leaderboard_lists_every_trial_and_leaves_blank_what_does_not_apply(
    bare: Written,
) -> None:
    few, text = bare.folder, bare.text
    begin = text.index('id="leaderboard"')
    table = text[begin : text.index("</table>", begin)]
    heads = re.findall(r'data-name="([^"]+)"', table)
    assert {"trial", "f1", "state", *read_experiment(few).space} <= set(heads)
    lines = [
        re.findall(r"<td[^>]*>([^<]*)</td>", line)
        for line in re.findall(r"<tr class.*?</tr>", table, re.S)
    ]
    rows = ranked(read_trials(few))
    assert len(lines) == len(rows) == 4
    for cells, row in zip(lines, rows, strict=True):
        gamma = cells[heads.index("lambda_gamma")]
        assert (gamma == "") == ("lambda_gamma" not in row.params)
        assert cells[heads.index("trial")] == str(row.number)
    assert "the loss became nan in epoch 1" in table


def test_the_commands_it_prints_find_the_same_recipe_and_the_same_experiment(
    bare: Written, tmp_path: Path
) -> None:
    few, page = bare.folder, Page(bare.text)
    (link,) = [a for tag, a in page.tags if tag == "a" and "download" in a]
    assert link["download"] == "small.yaml"
    file = tmp_path / "small.yaml"
    file.write_bytes(base64.b64decode((link["href"] or "").split(",")[1]))
    assert yaml.safe_load(file.read_text())["name"] == "small"
    again, _ = load_experiment(file, stage_counts())
    assert again == read_experiment(few)

    commands = [text for text in page.words if text.startswith("dann-search launch")]
    words = shlex.split(commands[0])
    assert words[:3] == ["dann-search", "launch", "small.yaml"]
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    experiment, space = load_experiment(
        file, stage_counts(), sets=sets, name="again", storage=tmp_path, trials=1
    )
    record = StudyRecord(experiment, space, prepare(experiment, space))
    trial = record.next_trial()
    record.close()
    best = ranked(read_trials(few))[0]
    assert trial and trial.config.model_dump(mode="json") == best.config


def test_the_command_prints_the_key_numbers_as_one_object(
    few: ExperimentFolder, bare: Written, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["report", str(few.root), "--json"]) == 0
    captured = capsys.readouterr()
    content = printed("report", captured.out)
    networks = [one["network"] for one in content["domain_shift"]]
    assert networks == ["before training", "trained by dann"]
    assert "running the model" in captured.err
    monkeypatch.setattr("dann_search.report.content.gather", lambda *_: bare.content)
    assert main(["report", str(few.root), "--force"]) == 0
    assert "macro-F1, target val" in capsys.readouterr().out


def test_of_a_network_that_has_collapsed_what_cannot_be_measured_is_null(bare: Written) -> None:
    same = np.ones((8, 4))
    assert bare.content.inside
    collapsed = [
        replace(one, shift=domain_shift(same, same)) for one in bare.content.inside.domains
    ]
    content = replace(bare.content, inside=replace(bare.content.inside, domains=collapsed))
    report = summarize(content, bare.report.file, 0)
    assert {one.mmd2 for one in report.domain_shift} == {None}
    assert '<td class="n">nan</td>' not in render(content, "today")
