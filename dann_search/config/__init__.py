"""What a user may write: the experiment file, its search space, and the recipe of one trial.

Start with ``load.py``, which turns a file and overrides into an ``ExperimentConfig`` and a
``Space``. Everything here is checked before anything expensive starts; nothing here imports torch
or ray.
"""
