"""One command from two domains to the answer, on real Ray."""

from pathlib import Path

import pytest

from dann_search.cli import main
from tests.json_output import printed

pytestmark = pytest.mark.scenario


def test_adapt_answers_on_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["adapt", "digits", "digits-m", "--backbones", "dann_cnn", "--budget", "20m", "--json"]
    # Few enough that no budget ends them, however busy the machine is.
    words += ["--set", "search.trials=2", "--set", "training.epochs=1"]
    assert main(words) == 0
    result = printed("adapt", capsys.readouterr().out)
    assert "95 % interval" in result["answer"] and result["evaluation"]["n"] > 0
    assert Path(result["report"]).stat().st_size > 0 and result["notes"] == []
