"""The baselines: methods that train on source images alone."""

from dann_search.config.extensions import METHODS, MethodSpec

METHODS.add(
    MethodSpec(
        name="source_only",
        words="No adaptation: only labelled source images are trained on.",
        term="none; target images are not even seen by batch norm",
        source="baseline",
        adapts=False,
    ),
    None,
)
METHODS.add(
    MethodSpec(
        name="from_scratch",
        words="No adaptation, and no pre-trained weights: only labelled source images are trained "
        "on.",
        term="none, and no pre-trained weights: every stage is trained",
        source="baseline",
        adapts=False,
    ),
    None,
)
