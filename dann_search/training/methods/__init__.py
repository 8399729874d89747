"""Adaptation methods: each a loss beside the label loss, described and registered in its file.

The files import torch inside functions alone: what only needs the names of methods stays light.
"""
