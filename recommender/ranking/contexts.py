"""How the context of a request changes its list: device, place, time, first visit.

Contexts are declared in `segments.toml`:

    [[context]]
    name = "short breaks"
    when = { device = ["phone"], time = ["morning"] }  # all of these must be given
    profile = { diversity = 2.0, long_tail = 0.5 }     # factors of the weights of the profile
    session_share = 0.9                                # of a running session, beside a history
    enabled = true

Callers say what they know (`{"device": "phone"}`). Two features are known without them: `time`
(night, morning, afternoon, evening; quarters of the day, UTC) and `first_visit` (yes, no). What the
user says of themselves is known, too: `when = { "attribute country" = ["DE", "AT"] }`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from recommender.ranking.attributes import as_features
from recommender.ranking.rerank import Profile

Features = Mapping[str, tuple[str, ...]]  # what is known of a request: all that each is

DAY = 86_400
TIMES = ("night", "morning", "afternoon", "evening")
FACTORS = ("relevance", "diversity", "long_tail", "freshness", "balance", "exploration")


@dataclass(frozen=True)
class Context:
    """Changes to a list that are made when a request's context matches."""

    name: str
    when: Mapping[str, tuple[str, ...]]
    profile: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    session_share: float | None = None

    def holds(self, present: Features) -> bool:
        """Whether every feature has one of its values."""
        return holds(self.when, present)


def holds(when: Mapping[str, tuple[str, ...]], present: Features) -> bool:
    """Whether every feature has one of the values that `when` names."""
    return all(set(values) & set(present.get(feature, ())) for feature, values in when.items())


def features(
    named: Mapping[str, str] | None, now: int, *, known: bool, attributes: Mapping[str, Any]
) -> Features:
    """What is known of the moment; the caller's values come first. None: nothing may be used."""
    if named is None:
        return {}
    own = {"time": (TIMES[now % DAY // (DAY // 4)],), "first_visit": ("no" if known else "yes",)}
    return as_features(attributes) | own | {name: (value,) for name, value in named.items()}


def fitted(profile: Profile, contexts: Sequence[Context]) -> Profile:
    """The profile with the factors of every context, one after the other."""
    weights = {name: getattr(profile, name) for name in FACTORS}
    for context in contexts:
        for name, factor in context.profile.items():
            weights[name] *= factor
    return replace(profile, **weights | {"exploration": min(weights["exploration"], 1.0)})


def session_share(contexts: Sequence[Context]) -> float | None:
    """The share of the last context that sets one; None: none does."""
    shares = [context.session_share for context in contexts if context.session_share is not None]
    return shares[-1] if shares else None
