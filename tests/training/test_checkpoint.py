"""Checkpoints: whole or not at all, only what was trained, and only for the network they fit."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dann_search.errors import RunError
from dann_search.models.build import build_network
from dann_search.training.checkpoint import (
    BEST,
    LAST,
    PREVIOUS,
    Checkpoint,
    frozen_hash,
    load_checkpoint,
    recipe_hash,
    restore_network,
    save_checkpoint,
    trained_state,
)
from dann_search.training.loop import train
from tests.training.recipes import metrics, recipe, run, tiny_data


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    run(recipe(epochs=2, unfrozen_depth=2), tiny_data(), folder)
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """A trial of two epochs with its lowest stage frozen, to do with as one likes."""
    shutil.copytree(trained_once, tmp_path / "trial")
    return tmp_path / "trial"


def test_frozen_weights_are_not_in_the_file(trained: Path) -> None:
    frozen = "backbone.stages.conv1."
    for name in (LAST, BEST):
        checkpoint = load_checkpoint(trained / name)
        assert checkpoint.model and not any(key.startswith(frozen) for key in checkpoint.model)
        assert not any(key.startswith(frozen) for key in checkpoint.optimizer)
    assert load_checkpoint(trained / LAST).optimizer
    assert load_checkpoint(trained / BEST).optimizer == {}


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    network = build_network(recipe(), 3)
    saved = Checkpoint((), frozen_hash(network), trained_state(network), {"x": torch.ones(2)})
    save_checkpoint(tmp_path / "file", saved)
    loaded = load_checkpoint(tmp_path / "file")
    assert loaded.history == () and loaded.frozen_hash == saved.frozen_hash
    assert loaded.model.keys() == saved.model.keys()
    assert all(torch.equal(loaded.model[name], saved.model[name]) for name in saved.model)
    assert torch.equal(loaded.optimizer["x"], torch.ones(2))


def test_a_checkpoint_of_another_recipe_is_not_gone_on_from(trained: Path, tmp_path: Path) -> None:
    other = recipe(epochs=2, unfrozen_depth=2, learning_rate=0.03)
    anew = run(other, tiny_data(), tmp_path / "anew")
    assert metrics(run(other, tiny_data(), trained)) == metrics(anew)
    for name in (LAST, BEST):
        assert load_checkpoint(trained / name).recipe == recipe_hash(other)


def test_a_checkpoint_of_an_older_version_that_names_no_recipe_is_gone_on_from(
    trained: Path,
) -> None:
    forget_recipe(trained)
    (history,) = train(recipe(epochs=2, unfrozen_depth=2), tiny_data(), trained)
    assert len(history) == 2  # nothing was left to do


def forget_recipe(trained: Path) -> None:
    """Make the last checkpoint one that fits any recipe, as those of older versions do."""
    save_checkpoint(trained / LAST, replace(load_checkpoint(trained / LAST), recipe=""))


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_checkpoint_is_an_error_that_names_it(trained: Path, keep: int) -> None:
    content = (trained / LAST).read_bytes()
    (trained / LAST).write_bytes(content[:keep])
    with pytest.raises(RunError, match=r"last\.safetensors: not a readable checkpoint"):
        load_checkpoint(trained / LAST)


@pytest.mark.parametrize("torn", [(LAST,), (LAST, PREVIOUS)])
def test_training_goes_on_from_the_last_whole_checkpoint_to_the_same_end(
    tmp_path: Path, torn: tuple[str, ...]
) -> None:
    config, folder = recipe(epochs=4), tmp_path / "cut"
    run(config, tiny_data(), folder, stop_after=3)
    for name in torn:
        (folder / name).write_bytes((folder / name).read_bytes()[:-9])
    again = [metrics(h) for h in train(config, tiny_data(), folder)]
    assert len(again[0]) == (2 if torn == (LAST,) else 1)
    whole = run(config, tiny_data(), tmp_path / "whole")
    assert again[-1] == metrics(whole)
    assert not (folder / PREVIOUS).exists()
    weights = [load_checkpoint(tmp_path / name / LAST).model for name in ("cut", "whole")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])


def flip_a_bit(path: Path, at: int) -> None:
    """Damage a file as a disk does: all of it is there, and it can be read."""
    content = bytearray(path.read_bytes())
    content[at] ^= 0x80
    path.write_bytes(content)


@pytest.mark.parametrize("name", [LAST, BEST])
def test_one_wrong_bit_in_a_checkpoint_is_an_error_that_names_it(trained: Path, name: str) -> None:
    flip_a_bit(trained / name, -1)
    with pytest.raises(RunError, match=rf"{name}: damaged: its content is not what was written"):
        load_checkpoint(trained / name)


def test_training_goes_on_from_the_checkpoint_before_one_with_a_wrong_bit_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = recipe(epochs=3), tmp_path / "cut"
    run(config, tiny_data(), folder, stop_after=2)
    flip_a_bit(folder / LAST, -2)
    again = [metrics(history) for history in train(config, tiny_data(), folder)]
    said = capsys.readouterr().err
    assert f"{folder / LAST}: damaged" in said
    assert f"training continues after epoch 1, from {folder / PREVIOUS}" in said
    assert again[-1] == metrics(run(config, tiny_data(), tmp_path / "whole"))


def test_a_checkpoint_of_an_older_version_without_a_digest_is_read(trained: Path) -> None:
    with safe_open(trained / LAST, framework="pt") as file:
        record = file.metadata()["record"]
    before = load_checkpoint(trained / LAST)
    save_file(load_file(trained / LAST), trained / LAST, {"record": record})
    assert load_checkpoint(trained / LAST).history == before.history


def test_a_safetensors_file_without_a_record_is_an_error(tmp_path: Path) -> None:
    for metadata in (None, {"record": "{}"}, {"record": "[1]"}, {"record": "no json"}):
        save_file({"x": torch.ones(1)}, tmp_path / LAST, metadata)
        with pytest.raises(RunError, match="not a readable checkpoint"):
            load_checkpoint(tmp_path / LAST)


def test_other_frozen_weights_than_those_trained_on_are_an_error(trained: Path) -> None:
    forget_recipe(trained)
    config = recipe(epochs=3, unfrozen_depth=2)
    with pytest.raises(RunError, match="the frozen stages differ from those it was trained on"):
        run(config.model_copy(update={"seed": 1}), tiny_data(), trained)
    assert len(run(config, tiny_data(), trained)) == 3


@pytest.mark.parametrize(
    "change", [{"bottleneck": 4}, {"bottleneck": 0}, {"method": "source_only"}]
)
def test_weights_that_do_not_fit_are_an_error(trained: Path, change: dict[str, object]) -> None:
    forget_recipe(trained)
    config = recipe(epochs=3, unfrozen_depth=2, **change)
    with pytest.raises(RunError, match="weights do not fit the configuration"):
        run(config, tiny_data(), trained)


def test_the_hash_of_frozen_weights_sees_them_alone() -> None:
    def hash_of(depth: int, spoil: str = "") -> str:
        network = build_network(recipe(unfrozen_depth=depth), 3)
        if spoil:
            with torch.no_grad():
                network.get_parameter(spoil).view(-1)[0] += 1
        return frozen_hash(network)

    assert hash_of(2) == hash_of(2, "backbone.stages.conv3.0.weight")
    assert hash_of(2) != hash_of(2, "backbone.stages.conv1.0.weight")
    assert hash_of(2) != hash_of(1)


def test_restoring_gives_the_trained_network_back(trained: Path) -> None:
    checkpoint = load_checkpoint(trained / LAST)
    network = build_network(recipe(epochs=2, unfrozen_depth=2), 3)
    restore_network(network, checkpoint, trained / LAST)
    assert all(torch.equal(v, checkpoint.model[n]) for n, v in trained_state(network).items())
    broken = replace(checkpoint, frozen_hash="another")
    with pytest.raises(RunError, match="frozen stages differ"):
        restore_network(network, broken, trained / LAST)
