"""The example of docs/methods.md is a backbone like any other."""

import re
from pathlib import Path

import pytest
import torch

from dann_search.config.trial import TrialConfig
from dann_search.models import registry
from dann_search.models.build import build_network
from dann_search.models.registry import spec_of

DOCS = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_documented_example_registers_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.BACKBONES, "_entries", {})
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) - sum("import" in line for line in lines) < 20
    exec(code, {})
    assert spec_of("tiny").stages == ("stem", "body", "top")
    config = TrialConfig(backbone="tiny", unfrozen_depth=1, pretrained=False)
    network = build_network(config, 3)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    assert {name.split(".")[1] for name in network.backbone.frozen_names} == {"stem", "body"}
