"""Observers of a search: TensorBoard and a file per trial; progress of packing images in lines.

Start with ``observer.py``: what a search tells its observers. Nothing here draws: the console's
live table is in ``cli``.
"""
