"""What editorial rules would change: a dry run over a sample of users, before anybody sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graph.errors import InputError
from recommender.ranking.request import Answer, Request
from recommender.serving.recommend import Recommender
from recommender.serving.rules_file import Rule
from recommender.serving.segment_view import overview


def check_rules(
    recommender: Recommender,
    rules: Sequence[Rule],
    *,
    users: int,
    n: int,
    now: int,
    seed: int = 0,
    context: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """One row for each rule alone and one for all, against the lists without rules.

    If contexts are declared, a last row compares lists in this context with those outside it.

    `changed` is the share of lists that change, `new` the mean share of items that are new in a
    list, and `cost` the share of NDCG that the lists lose, with the scores without rules as
    relevance: 0 is nothing, 1 is all. Items that no source proposed count as not relevant.
    """
    count = len(recommender.release.users)
    if count == 0:
        raise InputError("the release has no users to try rules on")
    rows = np.random.default_rng(seed).permutation(count)[:users]
    requests = [
        Request(user=user, n=n, reasons=False, context=dict(context or {}))
        for user in recommender.release.users.ids(rows)
    ]
    plain = [replace(request, rules=False) for request in requests]
    relevance = _relevance(recommender.recommend([replace(r, n=5 * n) for r in plain], now=now))
    before = recommender.recommend(plain, now=now)
    trials = [(rule.name, rule.do, (rule,)) for rule in rules]
    result: list[dict[str, Any]] = []
    for name, do, own in [*trials, ("all together", "", tuple(rules))]:
        after = _under(recommender, own, requests, now)
        result.append({"rule": name, "do": do, **_compared(after, before, relevance)})
    if recommender.contexts:
        nothing = recommender.recommend([replace(r, context=None) for r in plain], now=now)
        result.append(
            {"rule": "contexts", "do": "context", **_compared(before, nothing, relevance)}
        )
    return result


def without_effect(recommender: Recommender, rules: Sequence[Rule], *, now: int) -> list[str]:
    """A sentence for each rule that names segments or items that this release does not have."""
    known = {segment["name"] for segment in overview(recommender)["segments"]}
    complaints = []
    for rule in rules:
        strange = sorted(set(rule.segments) - known)
        if strange:
            complaints.append(
                f"rule {rule.name!r}: there is no segment {', '.join(map(repr, strange))}"
            )
        if (
            rule.condition is not None
            and not recommender.filters.mask(rule.condition.at(now)).any()
        ):
            complaints.append(f"rule {rule.name!r}: where allows no item")
        missing = [item for item in rule.items if item not in recommender.release.items]
        if missing:
            complaints.append(
                f"rule {rule.name!r}: there is no item {', '.join(map(repr, missing))}"
            )
    return complaints


def _under(
    recommender: Recommender, rules: Sequence[Rule], requests: Sequence[Request], now: int
) -> list[Answer]:
    """The answers while these rules hold."""
    return recommender.following(rules=rules).recommend(requests, now=now)


def _compared(
    after: Sequence[Answer], before: Sequence[Answer], relevance: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    pairs = [
        ([i.item for i in a.items], [i.item for i in b.items])
        for a, b in zip(before, after, strict=True)
    ]
    new = [len(set(b) - set(a)) / max(len(b), 1) for a, b in pairs]
    costs = [
        1 - _gain(b, own) / gained
        for (a, b), own in zip(pairs, relevance, strict=True)
        if (gained := _gain(a, own)) > 0
    ]
    return {
        "changed": round(float(np.mean([a != b for a, b in pairs])), 4),
        "new": round(float(np.mean(new)), 4),
        "cost": round(float(np.mean(costs)), 4) if costs else 0.0,
    }


def _relevance(answers: Sequence[Answer]) -> list[dict[str, float]]:
    return [{entry.item: max(entry.score, 0.0) for entry in answer.items} for answer in answers]


def _gain(items: Sequence[str], relevance: Mapping[str, float]) -> float:
    """Discounted cumulative gain."""
    gains = np.array([relevance.get(item, 0.0) for item in items])
    return float((gains / np.log2(np.arange(len(gains)) + 2)).sum())
