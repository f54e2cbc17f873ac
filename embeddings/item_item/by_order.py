"""How the order of histories is read, chosen on what came next in them.

First how much recent entries count in the item table, then whether the newest also read the table
of what follows what, with which weight and how steeply. Both are left out where shuffled histories
do as well.
"""

from collections.abc import Callable, Sequence

from embeddings.item_item.candidates import Quality, Say
from embeddings.item_item.follows import COST, WAYS
from embeddings.item_item.held_back import Trial
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.recency import DRAWS, RecencyJudge, Way, order_tells
from embeddings.item_item.side_by_side import Targets
from embeddings.item_item.worth import Findings, worthiest
from graph.arrays import F32

RECENCY = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
RECENCY_EXPONENT, RECENCY_COST = 0.3, 0.05
"""The exponent expected for a history's order, see `recency.weighed`. Another exponent e must raise
quality by cost x (e - .3)^2."""
Judged = Callable[[int | None, Sequence[Way]], list[Findings]]


def way_of_order(
    trials: Sequence[Trial],
    targets: Sequence[Targets],
    scores: Sequence[F32],
    tried: dict[str, Quality],
    say: Say,
) -> Way:
    """The way to read histories by their order; the scores (r, c) of each trial are calibrated."""
    tables = list(zip(targets, scores, strict=True))

    def plain(draw: int | None, ways: Sequence[Way]) -> list[Findings]:
        return judged(_judges(trials, draw), tables, ways)

    ways = {exponent: Way(exponent) for exponent in RECENCY}
    findings = dict(zip(ways, plain(None, list(ways.values())), strict=True))
    for exponent, model in findings.items():
        tried[f"recency {exponent:+g}"] = model.quality
    exponent = worthiest(
        findings, RECENCY_EXPONENT, lambda e: RECENCY_COST * (e - RECENCY_EXPONENT) ** 2
    )
    if exponent and not _tells(plain, Way(), Way(exponent)):
        say("recency: shuffled histories do just as well, so their order is not used")
        exponent = 0.0
    say(f"recency: exponent {exponent:g}")

    def following(draw: int | None, ways: Sequence[Way]) -> list[Findings]:
        after = [trial.followers(draw) for trial in trials]
        return judged(_judges(trials, draw), tables, ways, after)

    choices = [Way(exponent, weight, steepness) for weight, steepness in WAYS]
    follows = dict(zip(choices, following(None, choices), strict=True))
    for way, model in follows.items():
        tried[f"follows x {way.weight:g} {way.steepness:g}"] = model.quality
    without = choices[0]
    best = worthiest(follows, without, lambda way: COST if way.weight else 0.0)
    if best.weight and not _tells(following, without, best):
        say("what follows what: shuffled histories do just as well, so it is left out")
        best = without
    say(f"what follows what: weight {best.weight:g}, steepness {best.steepness:g}")
    return best


def _judges(trials: Sequence[Trial], draw: int | None) -> list[RecencyJudge]:
    if draw is not None:
        return [trial.by_chance(draw) for trial in trials]
    return [trial.by_order for trial in trials if trial.by_order]


def judged(
    judges: Sequence[RecencyJudge],
    tables: Sequence[tuple[Targets, F32]],
    ways: Sequence[Way],
    follows: Sequence[ItemTable | None] | None = None,
) -> list[Findings]:
    """What is found in each way, over all judges; everybody who is asked counts the same."""
    after = follows or [None] * len(tables)
    by_judge = [
        judge(*table, ways, own) for judge, table, own in zip(judges, tables, after, strict=True)
    ]
    by_way = [
        [model for cuts in by_judge if cuts for model in cuts[way]] for way in range(len(ways))
    ]
    people = sum(map(len, by_way[0]))
    return [Findings(tuple((len(model) / people, model) for model in models)) for models in by_way]


def _tells(judging: Judged, without: Way, chosen: Way) -> bool:
    """Whether the chosen way gains clearly more by the order of histories than by shuffled ones."""

    def gain(draw: int | None) -> float:
        plain, ordered = (sum(model.quality) for model in judging(draw, (without, chosen)))
        return ordered / (plain or 1.0)

    return order_tells(gain(None), [gain(draw) for draw in range(DRAWS)])
