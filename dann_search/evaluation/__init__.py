"""How good is a model, and compared with what: scores, calibration, baselines, comparisons.

Start with ``evaluate.py``, which measures one model, and ``compare.py``, which plans the trainings
of a comparison and scores them. These two are the only ones that read the target's test labels.
They return the models of ``dann_search.outputs``. Everything below may be imported, but not ray.
"""
