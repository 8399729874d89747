"""Training one recipe in pure torch: the loop, methods, schedules, validators, checkpoints.

Start with ``loop.py``; ``step.py`` is the loss of one step, to be held against the paper.
"""
