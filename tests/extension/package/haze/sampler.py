from dann_search import SamplerSpec, register_sampler


@register_sampler(
    SamplerSpec(
        name="halton", words="a scrambled Halton sequence over the parameters every trial has"
    )
)
def halton(search, seed):
    from optuna.samplers import QMCSampler

    return QMCSampler(
        qmc_type="halton",
        scramble=True,
        seed=search.seed,
        warn_independent_sampling=False,
        warn_asynchronous_seeding=False,
    )
