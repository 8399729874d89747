"""Networks: backbones with their stages, the label classifier and the domain discriminator.

Start with ``network.py`` for the DANN network and with ``registry.py`` for the backbones by name.
"""
