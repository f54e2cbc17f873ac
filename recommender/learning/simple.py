"""Where a simple recommender surely finds more over everybody, it is what gets published.

Item kNN and popularity fit into the table of a release, so such a release is fitted by the code
that fits any other, groups its users and serves. What was learned is tried first; only a verdict
of the gates leads here. Gates draw pairs at random: of a recipe that reads the order of histories,
which is chosen by how they end, they cannot say that.
"""

from dataclasses import replace

from embeddings.item_item.recipe import Recipe, Scorer
from recommender.learning.build import Choice
from recommender.learning.gate_figures import ITEM_KNN, KNN, POPULARITY
from recommender.learning.gates import EVERYBODY, MARGIN, Verdict, behind
from recommender.learning.warm import found_by

SCORERS = {
    ITEM_KNN: Scorer("cosine", KNN["damping"] / 2, 0.5),  # once for each of two items' users
    POPULARITY: Scorer("popularity"),
}


def simple_choice(verdict: Verdict, choice: Choice) -> tuple[str, Choice] | None:
    """The simple recommender that surely beats what was judged, and how a table is made of it.

    None if there is none, if the release ranks by it already, if its recipe reads the order of
    histories, or if something else speaks against the release: then the data is wrong, and another
    recipe would only hide that.
    """
    if reads_order(choice.recipe):
        return None
    if any(not reason.gate.startswith("baseline: ") for reason in verdict.reasons):
        return None
    figure = next((figure for figure in verdict.figures if figure.part == EVERYBODY), None)
    ahead = {
        name: rival.mean
        for name, rival in (figure.rivals.items() if figure else ())
        if name in SCORERS and behind(rival, MARGIN)
    }
    if not ahead:
        return None
    best = max(ahead, key=lambda name: ahead[name])
    recipe = simple_recipe(best, choice.recipe)
    if recipe.weights == choice.recipe.weights:
        return None
    scorer = SCORERS[best]
    report = {"weights": {scorer.name: 1.0}, "scorers": [scorer.as_json()]}
    return best, Choice(recipe, choice.report | report)


def reads_order(recipe: Recipe) -> bool:
    """Whether lists depend on what came last."""
    return any((recipe.recency_exponent, recipe.follows_weight, recipe.sequence_weight))


def simple_recipe(name: str, learned: Recipe) -> Recipe:
    """A recipe of one scorer alone, on pairs alone, in a table as wide as the learned one."""
    return replace(
        learned,
        weights=((SCORERS[name], 1.0),),
        feature_weights=(0.0,) * len(learned.feature_weights),
        popularity_exponent=0.0,
        history_exponent=0.0,
        recency_exponent=0.0,
        follows_weight=0.0,
        few_items=0,
    )


def is_better(simple: Verdict, learned: Verdict) -> bool:
    """Whether the simple one is published: it passes, and over everybody it does find more."""
    ndcgs = [found_by(verdict.to_json()) or 0.0 for verdict in (simple, learned)]
    return simple.passed and ndcgs[0] > ndcgs[1]
