"""What Python imports: ``launch``, ``resume``, ``Experiment``, ``compare`` and ``refit``.

Each combines rooms below: it runs a search, writes its best model and returns the result. Start
with ``launching.py``. The command line calls these functions and prints what they return.
"""
