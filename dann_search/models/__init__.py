"""Backbones by stage, label classifier, domain discriminator, gradient reversal, freezing."""
