"""A recipe in sentences, for the report."""

from collections.abc import Iterator, Sequence

from dann_search.config.extensions import AUGMENTATIONS, METHODS
from dann_search.config.trial import NO_EXTRA, TrialConfig
from dann_search.training.schedules import pseudo_labels_at

LAMBDA = {
    "constant": "stays at {top}",
    "linear": "rises in a straight line to {top} over {warmup}",
    "cosine": "rises along a cosine to {top} over {warmup}",
    "ganin": "rises to {top} along Ganin's schedule (gamma {gamma:.3g})",
}
RATES = {
    "ganin": "falling along Ganin's schedule (gamma {gamma:.3g})",
    "cosine": "falling along a cosine",
    "constant": "constant throughout",
}
NORMS = {"none": "", "batch": " and batch norm", "spectral": " and spectral norm"}
BATCH_NORM = {
    "joint": "Source and target pass batch norm together",
    "separate": "Source and target pass batch norm in turn, and the model keeps a mixture of their "
    "statistics",
    "frozen": "Batch norm keeps the statistics of the pre-trained weights",
    "domain": "Source and target pass batch norm in turn, each has statistics of its own, and the "
    "model keeps the target's",
}


def in_words(config: TrialConfig, stages: Sequence[str], pretrained: bool) -> list[tuple[str, str]]:
    """Describe a recipe as pairs of a heading and its sentences.

    Args:
        config: the recipe.
        stages: names of the backbone's stages, stem first.
        pretrained: whether it starts from pre-trained weights.
    """
    parts = {
        "Network": _network(config, stages, pretrained),
        "Method": [_adaptation(config), *_self_training(config)],
        "Training": _training(config),
        "Augmentation": [_augmentation(config)],
    }
    return [(heading, " ".join(sentences)) for heading, sentences in parts.items()]


def _network(config: TrialConfig, stages: Sequence[str], pretrained: bool) -> Iterator[str]:
    yield f"{config.backbone}, from {'pre-trained' if pretrained else 'random'} weights."
    depth = len(stages) if config.unfrozen_depth is None else config.unfrozen_depth
    if config.method == "from_scratch" or depth >= len(stages):
        yield f"All {len(stages)} stages are trained."
    elif depth == 0:
        yield f"All {len(stages)} stages stay as they are: only the heads are trained."
    else:
        names = ", ".join(stages[-depth:])
        yield f"The top {depth} of {len(stages)} stages are trained ({names})."
    if config.fine_tuning == "lora" and config.fine_tunes and depth:
        yield f"Of them, low-rank adapters of rank {config.lora_rank} are trained."
    if config.linear_probe_epochs and config.fine_tunes:
        yield f"The heads alone are trained for {config.linear_probe_epochs} epochs first."
    if config.head_init == "class_means" and config.fine_tunes:
        yield "The classifier begins with the means of the source's classes."
    if config.gradual_unfreezing:
        every = f"every {config.gradual_unfreezing} epochs"
        yield f"One more stage is trained {every}, the heads first."
    if config.bottleneck:
        yield f"A layer of {config.bottleneck} units lies before the heads."


def _self_training(config: TrialConfig) -> Iterator[str]:
    epochs = [e for e in range(1, config.epochs + 1) if pseudo_labels_at(e, config)]
    if epochs:
        which = f"Epochs {epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else f"Epoch {epochs[0]}"
        yield (
            f"{which} also train{'s' * (len(epochs) == 1)} on target images, with weight "
            f"{config.pseudo_label_weight:.3g}, under the labels that the network gives to the "
            "surest quarter of each class (self-training, Zou et al. 2018)."
        )


def _adaptation(config: TrialConfig) -> str:
    method = METHODS[config.method]
    options = (one.told(getattr(config, one.name)) for one in method.options)
    text = " ".join([method.words, *(f"{words}." for words in options)])
    if not config.adapts or config.by_statistics:
        return text
    share = "the whole" if config.lambda_warmup == 1 else _share(config.lambda_warmup)
    warmup = f"{share} of training"
    schedule = LAMBDA[config.lambda_schedule].format(
        top=f"{config.lambda_max:.3g}", warmup=warmup, gamma=config.lambda_gamma
    )
    delay = f", after {_share(config.lambda_delay)} of training" if config.lambda_delay else ""
    text += f" Its weight lambda {schedule}{delay}."
    if config.adversarial:
        layers = "layer" if config.discriminator_depth == 1 else "layers"
        dropout = config.discriminator_dropout
        text += (
            f" The discriminator has {config.discriminator_depth} hidden {layers} of "
            f"{config.discriminator_width} units{f', dropout {dropout:.2g}' if dropout else ''}"
            f"{NORMS[config.discriminator_norm]}."
        )
        if config.discriminator_lr_factor != 1:
            text += f" It learns at {config.discriminator_lr_factor:.3g} times the heads' rate."
        if penalty := config.discriminator_gradient_penalty:
            text += f" Its gradient in what it sees is penalized by {penalty:.3g}."
    if config.extra != NO_EXTRA:
        text += f" {METHODS[config.extra].words} Its weight is {config.extra_weight:.3g} lambda."
    return text


def _training(config: TrialConfig) -> Iterator[str]:
    momentum = f" with Nesterov momentum {config.momentum:.3g}" if config.optimizer == "sgd" else ""
    name = {"sgd": "SGD", "adamw": "AdamW"}[config.optimizer]
    domains = " of each domain" if config.adapts else ""
    rates = RATES[config.lr_schedule].format(gamma=config.lr_gamma)
    factor = config.head_lr_factor
    heads = "at the same rate" if factor == 1 else f"{factor:.3g} times as fast"
    batches = f"{config.epochs} epochs in batches of {config.batch_size} images{domains}"
    yield f"{batches}, by {name}{momentum}."
    yield f"The learning rate is {config.learning_rate:.3g}, {rates}; the heads learn {heads}."
    yield f"Weight decay is {config.weight_decay:.3g}."
    if not config.by_statistics:
        yield BATCH_NORM[config.batch_norm] + "."
    if config.class_balanced:
        yield "Each class of the source is drawn equally often."
    if config.stage_lr_decay < 1:
        yield f"Each stage learns at {config.stage_lr_decay:.3g} of the rate of the one above it."
    if config.label_smoothing:
        yield f"Labels are smoothed by {config.label_smoothing:.3g}."
    if config.gradient_clipping:
        yield f"Gradients are clipped at {config.gradient_clipping:.3g}."
    if config.ema_decay:
        yield f"The model is a moving average of the weights (decay {config.ema_decay:.4g})."
    if config.precision != "fp32":
        yield f"Forward passes are computed in {config.precision}."


def _augmentation(config: TrialConfig) -> str:
    amounts = ((one, getattr(config, one.name)) for one in AUGMENTATIONS.values())
    applied = [one.told(amount) for one, amount in amounts if amount != one.neutral]
    if not applied or config.views == 1:
        return "None."
    text = f"{', '.join(applied)}.".capitalize()
    if config.adapts and config.target_augmentation < 1:
        text += f" Target images get {_share(config.target_augmentation)} of that."
    if config.views:
        text += f" Each image has {config.views} fixed views, of which an epoch shows one."
    return text


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"
