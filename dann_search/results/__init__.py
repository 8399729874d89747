"""Reading a search: its trials, leaderboard, status, importance of parameters; cleaning it up.

Start with ``reader.py``. Nothing here imports ray, and nothing but ``store.py`` reads images.
"""
