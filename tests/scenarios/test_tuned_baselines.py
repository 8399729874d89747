"""`compare --tune` on Ray: interrupted in mid-search, killed, and continued."""

import signal
from pathlib import Path

import pytest

from dann_search.results.reader import read_trials
from dann_search.storage.layout import ExperimentFolder
from tests.drivers import LIMIT_S, kill_all, said, start, wait_for_words
from tests.experiments import tiny_space_file, write_tiny_images
from tests.finished_experiment import search_file
from tests.json_output import failed, printed

pytestmark = [pytest.mark.ray, pytest.mark.scenario]

METHODS = ["dann", "source_only", "adabn"]


def test_a_comparison_with_tuned_baselines_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    images = write_tiny_images(tmp_path / "images")
    folder = search_file(tiny_space_file(tmp_path, images, search__published_first=False))
    words = ["compare", str(folder.root), "--methods", ",".join(METHODS), "--seeds", "2"]
    words += ["--tune", "4"]
    log = tmp_path / "stderr"

    driver = start(tmp_path, *words)
    wait_for_words(log, "tuning source_only: trial", driver)
    driver.send_signal(signal.SIGINT)
    out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 130, said(tmp_path)
    assert "0 of 2 searches are done" in failed("compare", out)
    again = f"continue with: dann-search compare {folder} --methods dann,source_only,adabn"
    assert again in failed("compare", out)

    driver = start(tmp_path, *words)
    wait_for_words(log, "tuning adabn: trial", driver)
    kill_all(driver, str(tmp_path))
    searches = {
        path.name.rsplit("-", 1)[0]: ExperimentFolder(path)
        for path in (folder.compare / "tuned").iterdir()
    }
    before = {row.number: row.score for row in read_trials(searches["source_only"])}
    assert len(before) == 4

    driver = start(tmp_path, *words)
    out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, said(tmp_path)
    result = printed("compare", out)
    assert list(result["methods"]) == [
        "dann", "source_only", "source_only_tuned", "adabn", "adabn_tuned",
    ]  # fmt: skip
    assert {row.number: row.score for row in read_trials(searches["source_only"])} == before
    assert result["methods"]["adabn_tuned"]["tuned"]["trials"] == 4
