"""Finds the network that classifies an unlabelled image domain best.

Domain-adversarial fine-tuning on Ray Train, searched by Optuna on Ray Tune.
"""

__version__ = "0.1.0"
