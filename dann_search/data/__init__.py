"""Domains, their splits, the packed image store, and the batches and augmentation made from it."""
