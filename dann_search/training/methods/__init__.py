"""Adaptation methods: each a loss beside the label loss, one file each."""

from dann_search.training.methods import cdan, dann, deep_coral, mcc
from dann_search.training.methods.terms import Adaptation, Terms

ADAPTATIONS: dict[str, Adaptation] = {
    "dann": dann.loss,
    "cdan": cdan.loss,
    "mcc": mcc.loss,
    "deep_coral": deep_coral.loss,
}
"""By the name a recipe gives under ``method``; the other methods use no target images."""

__all__ = ["ADAPTATIONS", "Adaptation", "Terms"]
