"""What a script or a notebook registers reaches processes that can import neither."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dann_search.errors import InputError
from dann_search.inference.best import write_best
from dann_search.results.reader import check_registered
from dann_search.storage.layout import ExperimentFolder

MODULE = """
from dann_search import BackboneSpec, register_backbone
from dann_search.models.backbone import StagedBackbone
from torch import nn

WIDTH = 4

@register_backbone(BackboneSpec(name="narrow", stages=("stem",), image_size=16, smallest=8))
def build(state):
    return StagedBackbone({"stem": nn.Conv2d(3, WIDTH, 3)}, feature_size=WIDTH)
"""
SCRIPT = """
import mine
from dann_search import AugmentationSpec, register_augmentation
from dann_search.config.extensions import registered_here
from dann_search.search.own_entries import entries_to_send

def whiter(images, share):
    return images + (1 - images) * share

@register_augmentation(AugmentationSpec(name="fog", neutral=0.0, description="fog", words="fog"))
def fog(draws, u, amount):
    draws.then(lambda images: whiter(images, amount))

assert registered_here() == {"augmentation fog": "__main__", "backbone narrow": "mine"}
print(entries_to_send().hex())
"""
WORKER = """
import sys
from dann_search.search.own_entries import register_sent
register_sent(bytes.fromhex(sys.argv[1]))
import torch
from dann_search.config.trial import TrialConfig
from dann_search.data.augment import augment
from dann_search.models.build import build_network
assert "mine" not in sys.modules
config = TrialConfig(backbone="narrow", pretrained=False, fog=1.0)
assert build_network(config, 3)(torch.rand(2, 3, 16, 16)).shape == (2, 3)
assert augment(torch.zeros(2, 3, 8, 8), config, torch.Generator().manual_seed(0)).min() == 1
"""
UNSENDABLE = """
import threading
from dann_search import ValidatorSpec, register_validator
from dann_search.search.own_entries import entries_to_send

LOCK = threading.Lock()

@register_validator(ValidatorSpec(name="held", source="own", words="own"))
def held(view):
    with LOCK:
        return 1.0

entries_to_send()
"""


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_functions_travel_with_what_they_refer_to(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "mine.py").write_text(MODULE)
    (here / "script.py").write_text(SCRIPT)
    sent = run("script.py", folder=here)
    assert sent.returncode == 0, sent.stderr
    received = run("-c", WORKER, sent.stdout.strip(), folder=there)
    assert received.returncode == 0, received.stderr


def test_a_function_that_cannot_be_sent_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNSENDABLE)
    refused = run("script.py", folder=tmp_path).stderr
    assert "InputError: validator held: the function held of __main__ cannot be sent" in refused
    assert "put it in a file and name that under 'extensions'" in refused


def test_without_what_a_notebook_registered_a_search_says_what_is_missing(
    experiment: ExperimentFolder,
) -> None:
    record = yaml.safe_load(experiment.record.read_text())
    assert record["registered"] == {}
    check_registered(experiment)
    record["registered"] = {"sampler tpe": "__main__", "backbone narrow": "__main__"}
    experiment.record.write_text(yaml.safe_dump(record))
    with pytest.raises(InputError, match=r"not registered here: backbone narrow \(by __main__\);"):
        write_best(experiment)
