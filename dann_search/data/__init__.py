"""Images: what a domain is, its splits, the packed store, augmentation, and the batches of a step.

Start with ``open_domain.py`` for how folders become domains, and with ``store.py`` for how their
images are kept. Labels of target training images are read by ``target_labels.py`` alone, but for
those that the user gives to training, ``few_labels.py``.
"""
