"""Segments in plain words: names, and what marks a group."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graph.arrays import F64

# feature -> words for much and for little of it
WORDS = {
    "days since last seen": ("long unseen", "just seen"),
    "events": ("busy", "occasional"),
    "days known": ("long known", "recently arrived"),
    "weight of choices": ("many choices", "few choices"),
    "mean value": ("generous", "strict"),
    "night": ("night-time", "not at night"),
    "morning": ("mornings", "not in the morning"),
    "afternoon": ("afternoons", "not in the afternoon"),
    "evening": ("evenings", "not in the evening"),
    "weekend": ("weekends", "weekdays"),
    "domains": ("many domains", "few domains"),
    "largest domain": ("one domain first", "no domain first"),
    "tag concentration": ("few tags", "many tags"),
    "novelty": ("high novelty", "the well-known"),
    "spread of novelty": ("mixed novelty", "even novelty"),
    "visits in 30 days": ("often here", "seldom here"),
    "session length": ("long visits", "short visits"),
    "order value": ("large orders", "small orders"),
}
LOGARITHMS = {
    "days since last seen", "events", "days known", "weight of choices", "visits in 30 days",
    "session length", "order value",
}  # fmt: skip
SHARES = {
    "night", "morning", "afternoon", "evening", "weekend", "largest domain", "novelty",
}  # fmt: skip
MOST_NAMED = 2  # features in a name
MARKED = 0.4  # standard deviations from which a feature is worth a word


def title(deviations: F64, features: Sequence[str], taken: set[str]) -> str:
    """A name no other group has: what the group differs in most, in words.

    Args:
        deviations: (f,) the group's mean in standard deviations from that of all.
        features: their names.
        taken: names that are in use.
    """
    words: list[str] = []
    for feature in np.argsort(-np.abs(deviations), kind="stable"):
        word = _word(features[feature], float(deviations[feature]))
        if word is None or abs(deviations[feature]) < MARKED:
            continue
        words.append(word)
        name = ", ".join(words)
        if len(words) >= MOST_NAMED and name not in taken:
            return name
    name = ", ".join(words[:MOST_NAMED]) or "the middle"
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name} {number}", number + 1
    return unique


def persona(conditions: Sequence[Mapping[str, Any]], name: str) -> str:
    """A clause for each condition on the way through the tree; without conditions, the name."""
    return "; ".join(_clause(condition) for condition in conditions) or name


def _word(feature: str, deviation: float) -> str | None:
    if feature in WORDS:
        return WORDS[feature][0 if deviation > 0 else 1]
    group, _, name = feature.partition(" ")
    if group == "attribute":
        return _attribute_word(name, deviation)
    if group not in ("domain", "kind") or deviation < 0:
        return None  # "not baroque" tells little
    return name if group == "domain" else f"much {name}"


def _attribute_word(feature: str, deviation: float) -> str | None:
    name, _, word = feature.partition(" = ")
    if word:
        return f"{name} {word}" if deviation > 0 else None
    if " ~ " in feature:
        return None  # the encoded value does not tell which word it was
    return f"{'high' if deviation > 0 else 'low'} {name}"


def _attribute_clause(feature: str, more: bool, threshold: float) -> str:
    name, _, word = feature.partition(" = ")
    if word:
        return f"{name} {'is' if more else 'is not'} {word}"
    name, _, domain = feature.partition(" ~ ")
    side = "over" if more else "under"
    if domain:
        return f"{name} where {side} {threshold:.0%} choose {domain} most"
    return f"{name} {side} {_number(threshold)}"


def _clause(condition: Mapping[str, Any]) -> str:
    feature, threshold = condition["feature"], condition["threshold"]
    more = condition["side"] == "above"
    group, _, name = feature.partition(" ")
    if group == "attribute":
        return _attribute_clause(name, more, threshold)
    if group in ("domain", "kind"):
        of = f"in {name}" if group == "domain" else f"{name} events"
        return f"{'over' if more else 'under'} {threshold:.0%} {of}"
    value = float(np.expm1(threshold)) if feature in LOGARITHMS else threshold
    number = f"{value:.0%}" if feature in SHARES else _number(value)
    word = WORDS[feature][0 if more else 1]
    return f"{word} ({feature} {'over' if more else 'under'} {number})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"
