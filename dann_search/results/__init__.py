"""Read a search: its trials, leaderboard, status, importance of parameters; clean it up.

Start with ``reader.py``; results are the models of ``outputs``. Nothing here imports ray or draws,
and only ``store.py`` reads images.
"""
