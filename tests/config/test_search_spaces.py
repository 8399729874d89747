"""The files that are shipped are valid, and their data are named in words."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dann_search.config.load import load_experiment
from dann_search.models.registry import stage_counts

FILES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))


def put_data_in_place(content: dict[str, Any], folder: Path) -> None:
    for role in ("source", "target"):
        domain = content["data"][role]
        if "folder" in domain:
            (folder / domain["folder"]).mkdir(parents=True, exist_ok=True)
        if "manifest" in domain:
            (folder / domain["manifest"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / domain["manifest"]).touch()


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_shipped_file_is_valid_and_says_what_it_needs(file: Path, tmp_path: Path) -> None:
    text = file.read_text(encoding="utf-8")
    put_data_in_place(yaml.safe_load(text), tmp_path)
    (tmp_path / file.name).write_text(text, encoding="utf-8")
    experiment, space = load_experiment(tmp_path / file.name, stage_counts())
    assert experiment.name.replace("-", "_") == file.stem
    assert space.backbones
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert "Needs no download" in comment or ("Data:" in comment and "Hardware:" in comment)
