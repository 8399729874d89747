"""What is refused before a search starts anything."""

import contextlib
import sys
from pathlib import Path

import pytest

from dann_search.config.load import load_experiment
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts
from dann_search.search.checks import check_search
from dann_search.search.ray_private import SESSION, socket_trouble
from tests.experiments import space_file


def test_a_temporary_folder_too_long_for_sockets_is_refused_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, space = load_experiment(space_file(tmp_path), stage_counts())
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/scratch/job.0123456789/" + "a" * 20)
    said = (
        r"\$TMPDIR is too long .* 44 bytes, at most 39 are possible; set RAY_TMPDIR to a shorter "
        r"folder .*RAY_TMPDIR=/tmp"
    )
    with pytest.raises(InputError, match=said):
        check_search(experiment, space)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    check_search(experiment, space)
    monkeypatch.setenv("RAY_TMPDIR", "/" + "é" * 20)
    assert "41 bytes" in socket_trouble()


def test_the_longest_folder_is_as_ray_makes_its_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.utils import validate_socket_filepath

    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    for length, refused in ((39, False), (40, True)):
        folder = "/" + "a" * (length - 1)
        monkeypatch.setenv("TMPDIR", folder)
        assert bool(socket_trouble()) == refused
        with pytest.raises(OSError) if refused else contextlib.nullcontext():
            validate_socket_filepath(f"{folder}/{SESSION}")
