"""Result of adapt: from two domains to whether adaptation helps."""

from pydantic import Field

from dann_search.outputs.base import Output
from dann_search.outputs.comparison import Comparison
from dann_search.outputs.models import Evaluation
from dann_search.outputs.search import SearchEnded


class Adapted(Output):
    """Whether adaptation helps on two domains, and all that says so."""

    experiment: str = Field(description="folder or URL of the experiment")
    answer: str = Field(description="whether adaptation helps here, in plain words")
    search: SearchEnded = Field(description="the search, as launch returns it")
    evaluation: Evaluation | None = Field(
        description="the best model on the target's test split; null without target labels"
    )
    comparison: Comparison | None = Field(
        description="its method against the baselines; null without target labels, and where the "
        "budget ended before"
    )
    report: str | None = Field(
        description="the report's HTML file; null where what draws it is not installed"
    )
    budget_s: float = Field(description="the budget, in seconds")
    elapsed_s: float = Field(description="of this run alone, in seconds")
    notes: list[str] = Field(description="what was left out, and why, one sentence each")
