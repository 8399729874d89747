"""The page in Chromium: on a desk and on a phone, by day and by night."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from dann_search.evaluation.compare import compare
from dann_search.evaluation.evaluate import evaluate_target
from dann_search.report import Report, write_report
from dann_search.results.leaderboard import leaderboard, ranked
from dann_search.results.reader import read_trials
from dann_search.storage.layout import ExperimentFolder
from tests.browser import CHROMIUM
from tests.finished_experiment import search_file
from tests.train_here import train_here

pytestmark = pytest.mark.scenario

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("DANN_SHARED_DATA", ROOT.parent / "shared" / "data"))
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
DESK, PHONE = (1280, 900), (390, 844)

OVERLAPS = """() => [...document.querySelectorAll('[data-plot]')].flatMap((plot) => {
  const found = [];
  for (const axis of ['.xaxislayer-above .xtick', '.yaxislayer-above .ytick']) {
    const boxes = [...plot.querySelectorAll(`${axis} text`)].map((one) =>
      [one.textContent, one.getBoundingClientRect()]).filter(([, box]) => box.width);
    for (let i = 1; i < boxes.length; i++) {
      const [[, a], [text, b]] = [boxes[i - 1], boxes[i]];
      const apart = a.right <= b.left + 1 || b.right <= a.left + 1
        || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
      if (!apart) found.push(`${plot.dataset.plot}: ${text}`);
    }
  }
  return found;
})"""
"""Tick labels that lie upon their neighbours."""

FAINT_TEXT = """() => {
  const channels = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = channels(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    // Symbols of the legend are shapes; numbers in cells lie on the cell's own colour.
    if (element.closest('script, style, noscript, .heatmaplayer, [aria-hidden]')) continue;
    const style = getComputedStyle(element);
    const ink = element.closest('svg') ? style.fill : style.color;
    const [a, b] = [luminance(channels(ink)), luminance(ground(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    if (contrast < 4.5) found.push(`${contrast.toFixed(1)}: ${walker.currentNode.data.trim()}`);
    if (size < 10.5) found.push(`${size} px: ${walker.currentNode.data.trim()}`);
  }
  return [...new Set(found)];
}"""
"""Text of less than WCAG's contrast of 4.5 against what lies behind it, or too small to read."""


@dataclass(frozen=True)
class Written:
    """A report, the experiment it is about, and what the other commands say of it."""

    folder: ExperimentFolder
    report: Report
    test: dict[str, Any]
    methods: dict[str, Any]


@dataclass
class Opened:
    """A page in the browser, and what its console said."""

    page: Any
    said: list[str] = field(default_factory=list)


def written(folder: ExperimentFolder, **options: Any) -> Written:
    test = evaluate_target(folder.root).model_dump(mode="json")
    methods = compare(folder, train_here, seeds=2, **options).model_dump(mode="json")["methods"]
    return Written(folder, write_report(folder), test, methods)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The quickstart with a discriminator in every trial: fewer, shorter ones on fewer images."""
    file = ROOT / "search_spaces" / "quickstart.yaml"
    storage = tmp_path_factory.mktemp("quickstart")
    smaller = ("search.trials=5", "training.epochs=2", "data.target.dataset=digits-m")
    dann = ("space.method={choice: [dann]}", "search.start_points=[]")
    sets = (*smaller, *dann, "search.published_first=false", f"storage={storage}")
    return written(search_file(file, *sets))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A search from a web camera to a better one: real images, a pre-trained network."""
    tar, weights = SHARED / "office_caltech_10.tar", SHARED / "efficientnet_lite0.timm.safetensors"
    if not tar.exists():
        pytest.skip(f"{tar} is not there")
    root = tmp_path_factory.mktemp("office")
    with tarfile.open(tar) as archive:
        archive.extractall(root, filter="data")
    images = next(root.glob("**/webcam")).parent
    content = {
        "name": "webcam-dslr",
        "data": {
            "source": {"folder": str(images / "webcam")},
            "target": {"folder": str(images / "dslr")},
            "image_size": 64,
        },
        "training": {"backbone": "timm/efficientnet_lite0", "epochs": 2},
        "search": {"trials": 3, "scheduler": "none", "published_first": False},
        "space": {
            "unfrozen_depth": {"int": [0, 1]},
            "lambda_max": {"uniform": [0.1, 1.0]},
            "learning_rate": {"loguniform": [1e-3, 1e-2]},
            "crop_scale": {"uniform": [0.6, 1.0]},
            "colour_jitter": {"uniform": [0.0, 0.4]},
        },
        "weights": {"timm/efficientnet_lite0": {"file": str(weights), "mean": 0.5, "std": 0.5}},
        "storage": str(root / "runs"),
    }
    file = root / "space.yaml"
    file.write_text(yaml.safe_dump(content))
    return written(search_file(file), methods=["dann", "source_only"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield chromium
        chromium.close()


@pytest.fixture(params=["quickstart", "office"], scope="module")
def search(request: pytest.FixtureRequest, browser: Any) -> Written:
    found: Written = request.getfixturevalue(request.param)
    return found


def opened(browser: Any, report: Report, size: tuple[int, int], scheme: str) -> Opened:
    """The page with every plot drawn."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=size == PHONE
    )
    shown = Opened(context.new_page())
    shown.page.on("console", lambda message: shown.said.append(message.text))
    shown.page.on("pageerror", lambda error: shown.said.append(str(error)))
    shown.page.on("request", lambda request: _note(shown, request.url))
    shown.page.goto(report.file.as_uri())
    shown.page.wait_for_selector("html[data-plots=drawn]", state="attached", timeout=60_000)
    return shown


def barriers(page: Any) -> list[tuple[str, str]]:
    """What axe-core finds that keeps people with disabilities from using the page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(one["id"], node["html"][:200]) for one in found for node in one["nodes"]]


def _note(shown: Opened, url: str) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        shown.said.append(f"asked for {url}")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_everything_is_drawn_fits_and_can_be_read_by_day_and_by_night(
    browser: Any, search: Written, size: tuple[int, int]
) -> None:
    shown = opened(browser, search.report, size, "light")
    page = shown.page
    plots = page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('[data-plot]')].map((one) =>"
        "[one.dataset.plot, one.querySelectorAll('.trace, .hm, .point, .bars').length]))"
    )
    expected = {"baselines", "history", "epochs", "parallel_coordinates", "confusion"}
    expected |= {"slices-0", "learning_curves-4", "reliability", "features_by_domain-1"}
    assert expected <= plots.keys() and all(plots.values()), plots
    assert page.evaluate("() => document.images.length") > 40
    assert page.evaluate("() => [...document.images].every((one) => one.naturalWidth > 0)")
    for mode in ("light", "dark"):
        assert barriers(page) == []
        assert page.evaluate(FAINT_TEXT) == []
        assert page.evaluate(OVERLAPS) == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= size[0]
        if mode == "light":
            page.click("button.theme")
            page.wait_for_selector("html[data-theme=dark][data-plots=drawn]", state="attached")
    assert shown.said == []
    page.context.close()


def test_the_systems_dark_mode_is_followed_and_a_choice_is_kept(
    browser: Any, search: Written
) -> None:
    page = opened(browser, search.report, DESK, "dark").page
    ground = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("button.theme")
    light = page.evaluate(ground)
    assert light != dark and page.inner_text("button.theme") == "Dark"
    page.reload()
    assert page.evaluate(ground) == light
    page.context.close()


def test_shown_numbers_are_those_of_the_json_results(browser: Any, search: Written) -> None:
    page = opened(browser, search.report, DESK, "light").page
    best = leaderboard(search.folder).model_dump()["trials"][0]

    def number(name: str) -> str:
        text: str = page.inner_text(f"[data-number={name}]")
        return text.replace("−", "-")

    f1 = {name: one["f1_macro_test"]["mean"] for name, one in search.methods.items()}
    assert number("f1_macro_val") == f"{best['f1_macro_val']:.3f}"
    assert number("f1_macro_test") == f"{search.test['f1_macro']:.3f}"
    winner = best["config"]["method"]
    assert number("gain") == f"{f1[winner] - f1['source_only']:+.3f}"
    rows = page.locator("#result tbody tr").all_inner_texts()
    assert len(rows) == len(f1)
    for row, (name, mean) in zip(rows, f1.items(), strict=True):
        assert row.startswith(name) and f"{mean:.3f} ±" in row
    counts = [count for row in search.test["confusion"] for count in row if count]
    shown = page.locator("[data-plot=confusion] .heatmap-label").all_text_contents()
    assert sorted(int(text) for text in shown if text.strip()) == sorted(counts)
    page.context.close()


def test_the_leaderboard_sorts_and_filters(browser: Any, search: Written) -> None:
    page = opened(browser, search.report, DESK, "light").page
    rows = ranked(read_trials(search.folder))
    heads = [text.split()[0] for text in page.locator("#leaderboard th").all_inner_texts()]

    def column(name: str) -> list[str]:
        cells = page.locator("#leaderboard tbody tr:visible").all()
        return [row.locator("td").nth(heads.index(name)).inner_text() for row in cells]

    assert column("trial") == [str(row.number) for row in rows]
    page.click("#leaderboard th[data-name=learning_rate] button")
    values = [float(text) for text in column("learning_rate")]
    assert values == sorted(values, reverse=True) and len(values) == len(rows)
    page.click("#leaderboard th[data-name=learning_rate] button")
    assert [float(text) for text in column("learning_rate")] == values[::-1]
    page.click("#leaderboard th[data-name=trial] button")
    assert column("trial") == [str(number) for number in range(len(rows))]

    completed = [row for row in rows if row.state == "completed"]
    middle = sum(row.params["learning_rate"] for row in completed) / len(completed)
    page.fill(".filter input", f"completed learning_rate<{middle}")
    few = [row.number for row in completed if row.params["learning_rate"] < middle]
    assert sorted(map(int, column("trial"))) == sorted(few)
    assert page.inner_text(".filter output") == f"{len(few)} of {len(rows)} trials"
    page.fill(".filter input", "")
    assert len(column("trial")) == len(rows)
    page.context.close()


def test_a_hostile_name_runs_nothing(browser: Any, few: ExperimentFolder) -> None:
    shown = opened(browser, write_report(few), PHONE, "dark")
    assert shown.page.evaluate("() => window.broken") is None
    assert shown.page.locator("[data-plot] img, [data-plot] b").count() == 0
    assert shown.page.evaluate("() => document.documentElement.scrollWidth") <= PHONE[0]
    assert shown.said == []
    shown.page.context.close()
