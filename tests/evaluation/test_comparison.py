"""What a comparison says: its verdict, its terms, its tables."""

import csv
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dann_search.cli.evaluation_tables import comparison_table
from dann_search.evaluation.comparison import notes, steps, verdict
from dann_search.evaluation.comparison_tables import (
    to_csv,
    to_latex,
    to_markdown,
    write_comparison,
)
from dann_search.evaluation.method_scores import spread
from dann_search.inference.markup import escape_latex, escape_markdown
from dann_search.outputs.comparison import Comparison, OwnSearch
from dann_search.storage.layout import ExperimentFolder
from tests.evaluation.comparisons import compared, predicted, stated

ODD = ["R&D_50%", "a|b", r"C:\x{1}~^", "*star*", "[half] #1 $", "<i>"]
METHODS = ("dann", "source_only", "frozen_features", "from_scratch", "tllib_dann")
SHARES = dict(zip((*METHODS, "target_supervised"), (0.8, 0.6, 0.5, 0.2, 0.75, 0.95), strict=True))


@pytest.fixture
def odd() -> Comparison:
    return predicted(ODD, SHARES)


def as_json(comparison: Comparison) -> dict[str, Any]:
    return comparison.model_dump(mode="json")


def printed(comparison: Comparison, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(comparison_table(comparison, ExperimentFolder(Path("runs/office"))))
    return console.export_text()


@pytest.mark.parametrize(
    ("dann", "base", "interval", "words"),
    [
        ([0.70, 0.72, 0.71], [0.50, 0.52, 0.51], (0.1, 0.3), "helps here: dann is above source"),
        ([0.70, 0.72, 0.71], [0.50, 0.52, 0.51], (-0.1, 0.5), "but the interval reaches 0:"),
        ([0.50, 0.60, 0.70], [0.49, 0.55, 0.66], (0.01, 0.1), "but it is no more than seeds"),
        ([0.50, 0.60, 0.70], [0.49, 0.55, 0.66], (-0.1, 0.2), "0 and it is no more than seeds"),
        ([0.40, 0.42, 0.41], [0.50, 0.52, 0.51], (-0.3, 0.1), "does not help here: dann"),
        ([0.50, 0.52, 0.51], [0.50, 0.52, 0.51], (0.0, 0.0), "does not help here: dann"),
    ],
)  # fmt: skip
def test_adaptation_helps_only_beyond_the_interval_and_the_noise_of_seeds(
    dann: list[float], base: list[float], interval: tuple[float, float], words: str
) -> None:
    verdict = stated(dann, base, interval).verdict
    assert words in verdict
    assert f"95 % interval {interval[0]:+.3f} to {interval[1]:+.3f}" in verdict


def test_a_winner_that_does_not_adapt_is_held_against_one_that_does() -> None:
    mine, other, interval = [0.7, 0.72, 0.71], [0.5, 0.52, 0.51], (0.1, 0.3)
    worse = stated(mine, other, interval, winner="source_only", others=["tllib_dann"]).verdict
    assert worse.startswith("adaptation does not help here: the winner, source_only, against tllib")
    better = stated(other, mine, (-0.3, -0.1), winner="source_only", others=["dann"]).verdict
    assert better.startswith("adaptation helps here: the winner, source_only, against dann macro")
    alone = stated(mine, other, interval, winner="source_only", others=["from_scratch"]).verdict
    assert "name dann among the methods" in alone


def test_adaptation_helps_only_beyond_what_the_targets_statistics_bring() -> None:
    mine, other, interval = [0.7, 0.72, 0.71], [0.5, 0.52, 0.51], (0.1, 0.3)
    helps = stated(mine, other, interval)
    assert "is above source_only and adabn: against source_only macro-F1 +0.200" in helps.verdict
    for interval_of_adabn, gap, words in (
        ((-0.02, 0.1), 0.04, "is not shown to help here: dann is above adabn, but the interval"),
        ((-0.1, 0.02), -0.04, "does not help here: dann is not above adabn: against source_only"),
    ):
        beside = spread([one - gap for one in mine], (0, 1))
        against = helps.methods["adabn"].difference["f1_macro"]
        nearer = against.model_copy(update={"mean": gap, "ci95": interval_of_adabn})
        adabn = helps.methods["adabn"].model_copy(
            update={"f1_macro_test": beside, "difference": {"f1_macro": nearer}}
        )
        assert words in verdict("dann", helps.methods | {"adabn": adabn})
    same = helps.methods["adabn"].model_copy(update={"same_as": "source_only"})
    assert "above source_only: against" in verdict("dann", helps.methods | {"adabn": same})
    lacks = stated(mine, other, interval, others=["source_only"]).verdict
    assert lacks == "whether dann helps shows beside source_only and adabn: " + (
        "name adabn among the methods"
    )
    itself = stated(mine, other, interval, winner="adabn", others=["source_only"]).verdict
    assert itself.startswith("adaptation helps here: adabn is above source_only: against")


def test_a_gain_that_is_there_without_the_loss_is_said_to_be() -> None:
    mine, other, interval = [0.7, 0.72, 0.71], [0.5, 0.52, 0.51], (0.1, 0.3)
    others = ["source_only", "adabn", "lambda_0"]
    helps = stated(mine, other, interval, others=others)
    assert helps.verdict.startswith("adaptation helps") and "lambda_0" not in helps.verdict
    gap = helps.methods["lambda_0"].difference["f1_macro"].model_copy(update={"ci95": (-0.1, 0.3)})
    as_good = helps.methods["lambda_0"].model_copy(update={"difference": {"f1_macro": gap}})
    said = verdict("dann", helps.methods | {"lambda_0": as_good})
    assert said.startswith("adaptation helps")
    assert "; its loss itself is not shown to: against lambda_0 macro-F1 +0.200" in said


def test_of_each_baseline_the_stronger_counts_inherited_or_tuned() -> None:
    mine, other, interval = [0.7, 0.72, 0.71], [0.5, 0.52, 0.51], (0.1, 0.3)
    plain = stated(mine, other, interval)
    own = OwnSearch(
        method="source_only", trials=5, trial=3, score=0.6, folder="source_only-1", searched=[]
    )
    base = plain.methods["source_only"]
    for gap, words in (
        (0.02, "is not shown to help here: dann is above source_only_tuned, but the interval"),
        (0.25, "helps here: dann is above source_only and adabn: against source_only macro-F1"),
    ):
        against = base.difference["f1_macro"].model_copy(
            update={"mean": gap, "ci95": (gap - 0.05, gap + 0.05)}
        )
        twin = base.model_copy(
            update={
                "f1_macro_test": spread([one - gap for one in mine], (0, 1)),
                "difference": {"f1_macro": against},
                "tuned": own,
            }
        )
        said = verdict("dann", plain.methods | {"source_only_tuned": twin})
        assert words in said
        assert "of each baseline the stronger counts, inherited or tuned" in said
    assert "stronger" not in plain.verdict


def test_each_part_on_the_way_to_the_winner_says_what_it_brings() -> None:
    shares = {"dann": 0.9, "source_only": 0.5, "adabn": 0.6, "lambda_0": 0.7, "cdan": 0.8}
    comparison = predicted(["a", "b", "c"], shares)
    parts = {name: one.part for name, one in comparison.methods.items()}
    over = {name: part.over for name, part in parts.items() if part}
    assert over == {"adabn": "source_only", "lambda_0": "adabn", "dann": "lambda_0"}
    whole = comparison.methods["source_only"].difference["f1_macro"].mean
    assert sum(part.f1_macro.mean for part in parts.values() if part) == pytest.approx(whole)
    (said,) = [line for line in notes(comparison) if "each part brings" in line]
    order = ["adabn over source_only +", "lambda_0 over adabn +", "dann over lambda_0 +"]
    assert sorted(order, key=said.index) == order
    shown = comparison._repr_html_()
    assert html.escape(comparison.verdict) in shown and shown.count("<tr") == 1 + len(
        comparison.methods
    )
    frame = comparison.to_frame()
    assert frame.loc["dann", "part_over"] == "lambda_0"
    assert parts["dann"] and frame.loc["dann", "part_f1_macro"] == parts["dann"].f1_macro.mean


def test_methods_that_share_runs_are_one_step() -> None:
    names = ["dann", "source_only", "adabn", "lambda_0"]
    assert steps("dann", names, {}) == ["source_only", "adabn", "lambda_0", "dann"]
    assert steps("dann", names, {"lambda_0": "adabn"}) == ["source_only", "adabn", "dann"]
    assert steps("dann", names, {"adabn": "source_only"}) == ["source_only", "lambda_0", "dann"]
    assert steps("dann", names, {"lambda_0": "dann"}) == ["source_only", "adabn", "dann"]
    assert steps("adabn", ["adabn", "source_only"], {}) == ["source_only", "adabn"]
    assert steps("source_only", ["source_only", "adabn"], {}) == ["source_only", "adabn"]


def test_the_terms_say_who_was_tuned_on_which_labels() -> None:
    scores = predicted(["a", "b"], SHARES).methods
    shared, tuned, tllib = compared(scores, winner="dann").fairness.notes
    assert "6 epochs, batches of 32, seeds 1, 2, 3" in shared
    assert "macro-F1 on 58 target val labels" in shared
    assert "40 trials tuned the recipe of dann by macro-F1 on 58 target val labels" in tuned
    assert "source_only, frozen_features, from_scratch, target_supervised inherit it" in tuned
    assert "which favours dann" in tuned
    assert "tllib_dann is tllib's default recipe" in tllib
    lines = compared(
        scores, winner="dann", objective="info_max", searched=("dann", "mcc"), unfinished=2
    ).fairness.notes
    assert "info_max, without target labels" in lines[1] and "val labels" not in lines[1]
    assert "and the method, among dann, mcc, by" in lines[1]
    assert "2 trials of the search not ended yet" in lines[3]


def test_the_table_fits_80_columns_and_repeats_what_the_json_holds(odd: Comparison) -> None:
    text = printed(odd)
    rows = [line for line in text.splitlines() if line.startswith(tuple(SHARES))][: len(SHARES)]
    assert [row.split()[0] for row in rows] == list(SHARES)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "…" not in text
    for row, (name, content) in zip(rows, as_json(odd)["methods"].items(), strict=True):
        f1 = content["f1_macro_test"]
        assert f"{f1['mean']:.3f} ± {f1['sd']:.3f}" in row
        if name == "dann":
            assert content["difference"] == {}
        else:
            gap = content["difference"]["f1_macro"]
            low, high = gap["ci95"]
            assert f"{gap['mean']:+.3f} ({low:+.3f}, {high:+.3f})  {gap['p_value']:.3f}" in row
    assert "target_supervised is an upper bound" in text
    assert "so few seeds tell little" in " ".join(text.split())


def test_shared_runs_are_named() -> None:
    scores = stated([0.4, 0.5, 0.6], [0.4, 0.5, 0.6], (0, 0)).methods
    same = scores["dann"].model_copy(update={"same_as": "dann"})
    methods = scores | {"from_scratch": same}
    comparison = compared(methods, winner="dann")
    assert "from_scratch: the same runs as dann" in printed(comparison)


def test_without_the_winner_there_are_scores_and_no_differences(tmp_path: Path) -> None:
    (tmp_path / "compare").mkdir()
    comparison = predicted(["a", "b"], {"source_only": 0.6, "cdan": 0.7})
    assert not any(one.part for one in comparison.methods.values())
    assert "no differences: the winner, dann, is not among the methods" in printed(comparison)
    assert comparison.methods["cdan"].difference == {}
    write_comparison(comparison, ExperimentFolder(tmp_path))


def test_per_class_scores_are_means_over_seeds(odd: Comparison) -> None:
    classes = odd.methods["dann"].per_class
    assert [one.name for one in classes] == ODD
    assert sum(one.n for one in classes) == odd.n_test
    mean = sum(one.f1 for one in classes) / len(classes)
    assert mean == pytest.approx(odd.methods["dann"].f1_macro_test.mean)


def test_files_hold_the_same_scores(odd: Comparison, tmp_path: Path) -> None:
    (tmp_path / "compare").mkdir()
    write_comparison(odd, ExperimentFolder(tmp_path))
    assert {path.name for path in (tmp_path / "compare").iterdir()} == {
        "comparison.csv", "comparison.json", "comparison.md", "comparison.tex",
    }  # fmt: skip
    content = json.loads((tmp_path / "compare" / "comparison.json").read_text())
    assert content == as_json(odd)
    rows = list(csv.DictReader(io.StringIO(to_csv(odd))))
    assert [row["method"] for row in rows] == list(content["methods"])
    for row in rows:
        method = content["methods"][row["method"]]
        assert float(row["f1_macro"]) == method["f1_macro_test"]["mean"]
        assert float(row["recall_macro_sd"]) == method["recall_macro_test"]["sd"]
        assert float(row["f1 R&D_50%"]) == method["per_class"][0]["f1"]
        if method["difference"]:
            assert (
                float(row["difference_f1_macro_p"]) == method["difference"]["f1_macro"]["p_value"]
            )
        else:
            assert row["difference_f1_macro_p"] == ""


def test_the_frame_is_the_csv(odd: Comparison) -> None:
    frame = odd.to_frame()
    assert list(frame.index) == list(SHARES)
    assert frame.loc["tllib_dann", "accuracy"] == odd.methods["tllib_dann"].accuracy_test.mean
    assert frame["difference_f1_macro"].isna().tolist() == [True, *[False] * 5]
    assert ["method", *frame.columns] == to_csv(odd).splitlines()[0].split(",")


def test_markdown_shows_names_as_they_are(odd: Comparison) -> None:
    lines = to_markdown(odd).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) - 1 for line in tables}
    assert widths == {7, 2 + len(SHARES)}
    shown = [re.sub(r"\\(.)", r"\1", line) for line in tables]
    assert all(any(line.startswith(f"| {name} |") for line in shown) for name in ODD)
    assert escape_markdown("a|b_*c*\nd") == r"a\|b\_\*c\* d"
    assert escape_markdown("_source_only_ __") == r"\_source_only\_ \_\_"


def test_latex_needs_no_package_and_no_name_breaks_a_row(odd: Comparison) -> None:
    text = to_latex(odd)
    body = [line for line in text.splitlines() if not line.startswith("%")]
    commands = set(re.findall(r"\\([a-z]+)", "\n".join(body)))
    assert commands == {"begin", "end", "hline", "pm", "backslash"}
    rows = [line for line in body if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {7, 2 + len(SHARES)}
    # After a line's end LaTeX would read these as its options.
    assert not any(row.startswith(("[", "*")) for row in rows)
    assert escape_latex("R&D_50% -0.1") == r"R\&D\_50\% $-$0.1"
    for line in body:
        assert line.count("{") - line.count(r"\{") == line.count("}") - line.count(r"\}")


def test_tables_for_pages_show_the_worst_of_many_classes_and_say_where_all_are() -> None:
    names = [f"class {number}" for number in range(100)]
    many = predicted(names, {"dann": 0.9, "source_only": 0.6}, n=400)
    markdown, latex = to_markdown(many), to_latex(many)
    for text, row in ((markdown, r"\| class \d+ \|"), (latex, r"class \d+ &")):
        assert len(re.findall(row, text)) == 40
        assert "the 40 of 100 classes with the lowest F1" in text
        assert "comparison.csv and comparison.json" in text
    f1 = [
        (one.f1 + other.f1, one.name)
        for one, other in zip(*(s.per_class for s in many.methods.values()), strict=True)
    ]
    assert re.findall(r"\| (class \d+) \|", markdown)[0] == min(f1, key=lambda pair: pair[0])[1]
    assert to_csv(many).splitlines()[0].count(",f1 class ") == 100
    assert len(many.methods["dann"].per_class) == 100
