"""The baselines: methods that train on labelled images alone."""

from dann_search.config.extensions import METHODS, MethodSpec

METHODS.add(
    MethodSpec(
        name="source_only",
        words="No adaptation: only labelled source images are trained on.",
        term="none; target images are not even seen by batch norm, nor labels of any trained on",
        source="baseline",
        adapts=False,
        target_labels="unused",
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
        target_labels="unused",
    ),
    None,
)
METHODS.add(
    MethodSpec(
        name="source_plus_few",
        words="No adaptation: labelled source images and the labelled images of the target are "
        "trained on.",
        term="none; of the target only the images that `data.target.labels` gives are seen",
        source="baseline",
        adapts=False,
        target_labels="needed",
    ),
    None,
)
