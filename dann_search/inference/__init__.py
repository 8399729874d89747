"""A model on disk: choose and write it, load it, classify images with it, export it.

Start with ``model.py`` for a loaded model and with ``best.py`` for how ``best/`` is written.
"""
