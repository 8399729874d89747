"""Torch's compiler is not imported by what never compiles, and there for whoever does."""

import subprocess
import sys

import pytest

TRAINED = """
import sys, tempfile
from pathlib import Path
import torch
from dann_search.config.trial import TrialConfig
from dann_search.data.store import StoreInfo
from dann_search.training.speed import measured
info = StoreInfo(class_names=["bar", "cup"], image_size=32, fixed_size=True,
                 domains={"source": "a", "target": "b"}, sizes={}, hashes={}, duplicates=0)
config = TrialConfig(backbone=sys.argv[1], pretrained=False, epochs=1, batch_size=2,
                     optimizer=sys.argv[2])
measured(config, info, 0.0, 1, torch.device("cpu"))
assert "torch._dynamo" not in sys.modules, "training has imported the compiler"
"""
COMPILED = """
import torch
from dann_search.data.torch_compiler import without_compiler
with without_compiler():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], 0.1)
    weight.sum().backward()
    optimizer.step()
assert weight.item() == torch.tensor(0.9).item()
double = torch.compile(lambda x: 2 * x, backend="eager")
assert double(torch.ones(1)).item() == 2
import torch._dynamo
with without_compiler():
    assert hasattr(torch._dynamo, "optimize"), "the compiler itself was hidden"
"""
BESIDE_EACH_OTHER = """
import sys, torch
from dann_search.data.torch_compiler import without_compiler
one, other = without_compiler(), without_compiler()
one.__enter__()
other.__enter__()
one.__exit__(None, None, None)
torch._dynamo.graph_break()  # the other block still has its stand-in
other.__exit__(None, None, None)
assert "torch._dynamo" not in sys.modules and "_dynamo" not in vars(torch)
"""


def run(code: str, *arguments: str) -> str:
    """Run code in a process of its own; return what it complains of."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True
    )
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize(("backbone", "optimizer"), [("dann_cnn", "adamw"), ("resnet18", "sgd")])
def test_a_training_does_not_import_it(backbone: str, optimizer: str) -> None:
    assert run(TRAINED, backbone, optimizer) == ""


def test_whoever_compiles_afterwards_has_it() -> None:
    assert run(COMPILED) == ""


def test_blocks_of_threads_beside_each_other_keep_the_stand_in_until_the_last_ends() -> None:
    assert run(BESIDE_EACH_OTHER) == ""
