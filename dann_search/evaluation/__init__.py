"""How good a model is, and against what: scores, calibration, baselines and comparisons.

Start with ``evaluate.py``, which reads the target's test labels, and with ``compare.py``, which
trains nothing itself but scores what others trained.
"""
