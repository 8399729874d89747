"""Observers of a search: TensorBoard, a trial's files, the table in the console.

Start with ``observer.py``: what a search tells those who watch it.
"""
