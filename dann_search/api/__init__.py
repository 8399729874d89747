"""What Python imports: ``launch``, ``resume``, ``Experiment``, ``compare`` and ``refit``.

Each combines rooms below: a search is run, its best model written, and the result returned. Start
with ``launching.py``. The command line calls these functions and prints what they return.
"""
