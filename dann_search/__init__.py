"""Finds the network that classifies an unlabelled image domain best.

Domain-adversarial fine-tuning on Ray Train, searched by Optuna on Ray Tune.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dann_search.errors import check_platform

if TYPE_CHECKING:
    from dann_search.api.adapting import adapt
    from dann_search.api.experiment import Experiment
    from dann_search.api.launching import launch, resume
    from dann_search.api.retraining import compare, refit
    from dann_search.config.extensions import (
        AugmentationSpec,
        MethodSpec,
        Option,
        SamplerSpec,
        ValidatorSpec,
        register_augmentation,
        register_method,
        register_sampler,
        register_validator,
    )
    from dann_search.data.write_domain import write_domain
    from dann_search.evaluation.evaluate import evaluate_target
    from dann_search.inference.best import write_best
    from dann_search.inference.export.export import export_model
    from dann_search.inference.model import load_model
    from dann_search.inference.predict import predict_files
    from dann_search.models.catalog import BackboneSpec
    from dann_search.models.registry import register_backbone

__version__ = "0.1.0"

_HOMES = {
    "adapt": "dann_search.api.adapting",
    "launch": "dann_search.api.launching",
    "resume": "dann_search.api.launching",
    "write_best": "dann_search.inference.best",
    "evaluate_target": "dann_search.evaluation.evaluate",
    "export_model": "dann_search.inference.export.export",
    "predict_files": "dann_search.inference.predict",
    "refit": "dann_search.api.retraining",
    "compare": "dann_search.api.retraining",
    "Experiment": "dann_search.api.experiment",
    "BackboneSpec": "dann_search.models.catalog",
    "register_backbone": "dann_search.models.registry",
    "AugmentationSpec": "dann_search.config.extensions",
    "MethodSpec": "dann_search.config.extensions",
    "Option": "dann_search.config.extensions",
    "SamplerSpec": "dann_search.config.extensions",
    "ValidatorSpec": "dann_search.config.extensions",
    "register_augmentation": "dann_search.config.extensions",
    "register_method": "dann_search.config.extensions",
    "register_sampler": "dann_search.config.extensions",
    "register_validator": "dann_search.config.extensions",
    "write_domain": "dann_search.data.write_domain",
    "load_model": "dann_search.inference.model",
}

__all__ = [
    "AugmentationSpec",
    "BackboneSpec",
    "Experiment",
    "MethodSpec",
    "Option",
    "SamplerSpec",
    "ValidatorSpec",
    "adapt",
    "compare",
    "evaluate_target",
    "export_model",
    "launch",
    "load_model",
    "predict_files",
    "refit",
    "register_augmentation",
    "register_backbone",
    "register_method",
    "register_sampler",
    "register_validator",
    "resume",
    "write_best",
    "write_domain",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: loading a model must not load Ray."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dann_search' has no attribute '{name}'")
    check_platform()
    return getattr(import_module(_HOMES[name]), name)
