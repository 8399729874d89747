"""Check that a machine or a cluster is fit for a search; start reading with ``run.py``."""
