"""The former place of ``cluster.spot_first``, which older cluster files name. It goes after 0.2."""

from dann_search.cluster.spot_first import score

__all__ = ["score"]
