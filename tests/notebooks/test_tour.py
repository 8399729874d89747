"""The notebook: as it is committed, and executed from its first cell to its last."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from notebooks.execute import TOUR, clean, execute, read

LARGEST = 500_000
"""Bytes of the committed notebook."""
PLOTS = ("data", "importance", "curves", "evaluate", "predict", "compare")
TABLES = ("leaderboard", "best", "classes")


def check_outputs(notebook: NotebookNode) -> None:
    """Every key cell shows what it is there to show."""
    cells = {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}
    assert all(cell.execution_count for cell in cells.values())
    for name in PLOTS:
        assert has(cells[name], "image/png"), name
    for name in TABLES:
        assert has(cells[name], "text/html"), name
    assert "12/12 trials done" in text_of(cells["launch"])
    assert re.search(r"\d+ trials completed, \d+ pruned, 0 failed", text_of(cells["launch"]))
    assert "lambda_gamma" in text_of(cells["leaderboard"])
    assert re.search(r"macro-F1 0\.\d+, between 0\.\d+ and 0\.\d+", text_of(cells["evaluate"]))
    assert "source_only" in text_of(cells["compare"])
    assert "runs/tour/report/index.html" in text_of(cells["report"])


def has(cell: NotebookNode, kind: str) -> bool:
    return any(kind in output.get("data", {}) for output in cell.outputs)


def text_of(cell: NotebookNode) -> str:
    parts = [output.get("text", "") for output in cell.outputs]
    parts += [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(parts)


def test_it_is_committed_with_clean_outputs() -> None:
    notebook = read()
    nbformat.validate(notebook)
    check_outputs(notebook)
    content = TOUR.read_text(encoding="utf-8")
    assert len(content.encode()) < LARGEST
    shown = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    shown = re.sub(r'"image/png": "[^"]*"', "", shown)
    for place in ("/tmp", "/home", "/root", "/work", "site-packages", "\\u001b", "Traceback"):
        assert place not in shown, place
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.scenario
@pytest.mark.ray
def test_it_runs_from_the_first_cell_to_the_last(tmp_path: Path) -> None:
    notebook = read()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    execute(notebook, tmp_path)
    clean(notebook, tmp_path)
    check_outputs(notebook)
    assert (tmp_path / "runs" / "tour" / "best" / "model.safetensors").is_file()
