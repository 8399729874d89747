"""Pre-trained weights: read without pickle, loaded strictly, their absence explained."""

import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from dann_search.config.experiment import WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.models.build import build_network, uses_pretrained
from dann_search.models.torchvision_models import tv
from dann_search.models.weights import load_weights, read_state

BACKBONE = "squeezenet1_1"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(11)
    state: dict[str, torch.Tensor] = tv.get_model(BACKBONE, weights=None).state_dict()
    return state


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


class Malicious:
    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_a_weights_file_is_loaded_into_the_network(
    tmp_path: Path, state: dict[str, torch.Tensor], name: str
) -> None:
    file = tmp_path / name
    save_file(state, file) if file.suffix == ".safetensors" else torch.save(state, file)
    assert read_state(file).keys() == state.keys()
    network = build_network(TrialConfig(backbone=BACKBONE), 3, {BACKBONE: WeightsFile(file=file)})
    loaded = network.backbone.state_dict()
    # Stages keep torchvision's numbers of modules.
    assert torch.equal(loaded["stages.stem.0.weight"], state["features.0.weight"])
    assert torch.equal(
        loaded["stages.fire3.12.squeeze.weight"], state["features.12.squeeze.weight"]
    )


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path: Path, wrapped: bool) -> None:
    trace, file = tmp_path / "executed", tmp_path / "weights.pth"
    content = {"features.0.weight": Malicious(trace)}
    if wrapped:
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"weights\.pth: not a readable weights file"):
        read_state(file)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x04K", b"PK\x03\x04"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: not a readable weights file"):
        read_state(tmp_path / name)


def test_a_torch_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state": {}}, tmp_path / "checkpoint.pth")
    with pytest.raises(InputError, match="expected a state dict of tensors by name"):
        read_state(tmp_path / "checkpoint.pth")


@pytest.mark.parametrize("change", ["missing", "renamed", "reshaped"])
def test_weights_of_another_network_are_refused_by_file(
    tmp_path: Path, state: dict[str, torch.Tensor], change: str
) -> None:
    other = dict(state)
    first = other.pop("features.0.weight")
    if change == "renamed":
        other["conv_stem.weight"] = first
    if change == "reshaped":
        other["features.0.weight"] = torch.zeros(1, 3, 3, 3)
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=rf"other\.safetensors: not weights of {BACKBONE}"):
        build_network(
            TrialConfig(backbone=BACKBONE),
            3,
            {BACKBONE: WeightsFile(file=tmp_path / "other.safetensors")},
        )


@pytest.mark.parametrize(
    "problem",
    [URLError("no route to host"), TimeoutError("timed out"), RuntimeError("invalid hash value")],
)
def test_without_file_cache_and_network_the_message_says_what_to_do(
    no_cache: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(InputError) as caught:
        load_weights(BACKBONE, {})
    said = str(caught.value)
    assert str(problem) in said
    assert f"squeezenet1_1-b8a52dc0.pth into {tmp_path / 'hub' / 'checkpoints'}" in said
    assert f"weights: {{{BACKBONE}: FILE}}" in said and "pretrained: false" in said


def test_a_copy_in_the_cache_is_used_without_a_network(
    no_cache: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    state: dict[str, torch.Tensor],
) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(state, tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    loaded = load_weights(BACKBONE, {})
    assert loaded is not None and loaded.keys() == state.keys()


def test_weights_are_wanted_only_where_the_recipe_asks_and_the_backbone_has_some() -> None:
    assert uses_pretrained(TrialConfig(backbone=BACKBONE), {})
    assert not uses_pretrained(TrialConfig(backbone=BACKBONE, pretrained=False), {})
    assert not uses_pretrained(TrialConfig(backbone=BACKBONE, method="from_scratch"), {})
    assert not uses_pretrained(TrialConfig(backbone="dann_cnn"), {})
    assert load_weights("dann_cnn", {}) is None
    own = {"dann_cnn": WeightsFile(file=Path("dann_cnn.safetensors"))}
    assert uses_pretrained(TrialConfig(backbone="dann_cnn"), own)


def test_a_bare_network_reads_no_weights(no_cache: None) -> None:
    build_network(
        TrialConfig(backbone=BACKBONE), 3, {BACKBONE: WeightsFile(file=Path("nowhere"))}, bare=True
    )
