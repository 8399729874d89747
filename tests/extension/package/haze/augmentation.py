from dann_search import AugmentationSpec, register_augmentation


@register_augmentation(
    AugmentationSpec(
        name="haze",
        neutral=0.0,
        high=0.9,
        unit="share of white",
        description="largest share of white mixed into an image",
        words="haze of up to {share}",
    )
)
def haze(draws, u, amount):
    share = (u[:, 0] * amount)[:, None, None, None]
    draws.then(lambda images: images + (1 - images) * share.to(images))
