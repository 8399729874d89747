"""The packed images of an experiment whose folder came without them."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from dann_search.data.store import open_images, read_info
from dann_search.errors import InputError
from dann_search.results.store import packed_store
from dann_search.storage.layout import ExperimentFolder


def test_images_that_are_not_there_are_packed_anew_once_and_checked(
    experiment: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert packed_store(experiment) == experiment.data
    before = open_images(experiment.data, "target", "test").copy()
    shutil.rmtree(experiment.data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = packed_store(experiment)
    assert store.is_relative_to(tmp_path / "cache")
    assert (open_images(store, "target", "test") == before).all()
    assert json.loads((store / "store.json").read_text())["hashes"] == read_info(store).hashes
    made = (store / "store.json").stat().st_mtime_ns
    assert packed_store(experiment) == store
    assert (store / "store.json").stat().st_mtime_ns == made

    record = yaml.safe_load(experiment.record.read_text())
    record["data"]["hashes"]["target"]["val"] = "of other images"
    experiment.record.write_text(yaml.safe_dump(record))
    with pytest.raises(InputError, match=r"not those the search began with, in: target val"):
        packed_store(experiment)
