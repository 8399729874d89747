from dann_search import MethodSpec, Option, register_method
from dann_search.training.methods.terms import Terms

SHARE = Option(
    name="mean_match_share",
    neutral=1.0,
    description="share of the features that are matched",
    words="It matches {share} of them",
)
SPEC = MethodSpec(
    name="mean_match",
    options=(SHARE,),
    source="Tzeng et al. 2014",
    words="Mean matching: the mean features of source and target are drawn together.",
    term="lambda times the squared distance of the domains' mean features",
)


@register_method(SPEC)
def loss(network, features, logits, domains, lam, batch_size, mean_match_share):
    used = features[:, : max(1, round(mean_match_share * features.shape[1]))]
    source, target = used.chunk(2)
    gap = source.mean(0) - target.mean(0)
    return Terms(lam * gap.square().sum())
