"""The example of docs/extending.md is a backbone like any other."""

import re
from pathlib import Path

import pytest
import torch

from dann_search.config.trial import TrialConfig
from dann_search.models import registry
from dann_search.models.build import build_network
from dann_search.models.registry import spec_of

DOCS = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_documented_example_registers_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.BACKBONES, "_entries", {})
    *_, code = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    exec(code, {"__name__": "example"})
    assert spec_of("tiny").stages == ("stem", "body", "top")
    config = TrialConfig(backbone="tiny", unfrozen_depth=1, pretrained=False)
    network = build_network(config, 3)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    assert {name.split(".")[1] for name in network.backbone.frozen_names} == {"stem", "body"}
