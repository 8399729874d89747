"""A folder for the Hugging Face Hub: its card's data, its labels, and the demo of the docs."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dann_search.evaluation.evaluate import evaluate_target
from dann_search.inference.export import safetensors_folder
from dann_search.inference.export.export import export_model
from dann_search.inference.model import load_model
from dann_search.storage.layout import ExperimentFolder
from tests.data.images import noise
from tests.inference.models import random_model, write_random_model

DOCS = Path(__file__).parents[3] / "docs" / "models.md"
GRADIO = """
import sys, types
from PIL import Image as PillowImage

class Interface:
    def __init__(self, classify, image, label):
        assert (image, label) == ({"type": "pil"}, {"num_top_classes": 5})
        self.classify = classify
    def launch(self):
        print(self.classify(PillowImage.open(sys.argv[1])))

options = lambda **given: given
sys.modules["gradio"] = types.SimpleNamespace(Interface=Interface, Image=options, Label=options)
"""


def front_matter(card: str) -> dict[str, Any]:
    before, block, _ = f"\n{card}".split("\n---\n", 2)
    assert before == ""
    content: dict[str, Any] = yaml.safe_load(block)
    return content


def test_the_card_begins_with_what_the_hub_reads(experiment: ExperimentFolder) -> None:
    result = evaluate_target(experiment.root, note=lambda _: None)
    export = export_model(experiment.root, "hf")
    card = (export.folder / "README.md").read_text(encoding="utf-8")
    data = front_matter(card)
    assert data["license"] == "unknown"
    assert data["pipeline_tag"] == "image-classification"
    (index,) = data["model-index"]
    (measured,) = index["results"]
    assert measured["dataset"] == {"name": "digits-m", "type": "images", "split": "test"}
    values = {one["type"]: one["value"] for one in measured["metrics"]}
    assert values == pytest.approx(
        {
            "f1": result.f1_macro,
            "accuracy": result.accuracy,
            "precision": result.precision_macro,
            "recall": result.recall_macro,
        }
    )
    assert "snapshot_download" in card and "verified on" in card
    config = json.loads((export.folder / "config.json").read_text(encoding="utf-8"))
    names = load_model(experiment.best).class_names
    assert [config["id2label"][str(number)] for number in range(10)] == names
    assert [config["label2id"][name] for name in names] == list(range(10))
    assert export.verification.top1_agree == export.verification.images


def test_what_was_not_measured_is_not_claimed_and_names_are_text() -> None:
    record = dict(random_model("dann_cnn", side=16).record)
    assert "model-index" not in front_matter(safetensors_folder.hub_metadata(record, None))
    record["domains"] = {"source": "a", "target": 'x\n---\nlicense: "mit"'}
    record["temperature"] = 1.0
    values = dict.fromkeys(("f1_macro", "accuracy", "precision_macro", "recall_macro"), 0.5)
    data = front_matter(safetensors_folder.hub_metadata(record, {**values, "temperature": 1.0}))
    assert data["license"] == "unknown"
    assert 'x --- license: "mit"' in str(data["model-index"])
    calibrated_since = safetensors_folder.hub_metadata(record, {**values, "temperature": 2.0})
    assert "model-index" not in front_matter(calibrated_since)


def test_the_demo_of_the_docs_classifies_in_the_exported_folder(tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model", "dann_cnn", side=16)
    export = export_model(model, "hf", out=tmp_path / "hub")
    text = DOCS.read_text(encoding="utf-8").partition("<!-- demo -->\n```python\n")[2]
    demo = text.partition("```")[0]
    assert len(demo.split("\n\n")[1].splitlines()) <= 5
    picture = tmp_path / "picture.png"
    noise(1).save(picture)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(GRADIO) + demo, str(picture)],
        cwd=export.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    found = eval(done.stdout)
    (expected,) = load_model(model).predict([picture])
    assert found == pytest.approx(expected.probabilities, abs=1e-6)
    assert np.isclose(sum(found.values()), 1)
