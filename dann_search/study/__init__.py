"""The Optuna study, the one record of a search: proposals, pruning, finalists, budget.

Start with ``study.py``. Nothing here knows ray or torch: trials are numbers, recipes and scores.
"""
