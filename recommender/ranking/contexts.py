"""What the moment of a request does to its list: device, place, time, first visit.

Declared in `segments.toml`, and nothing holds that is not declared there:

    [[context]]
    name = "short breaks"
    when = { device = ["phone"], time = ["morning"] }  # every one of them must be said
    profile = { diversity = 2.0, long_tail = 0.5 }     # factors of the weights of the profile
    session_share = 0.9                                # of a running session, beside a history
    enabled = true

Callers say what they know (`{"device": "phone"}`). Two features are known without them: `time`
(night, morning, afternoon, evening; quarters of the day, UTC) and `first_visit` (yes, no).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from recommender.ranking.rerank import Profile

DAY = 86_400
TIMES = ("night", "morning", "afternoon", "evening")
FACTORS = ("relevance", "diversity", "long_tail", "freshness", "balance", "exploration")


@dataclass(frozen=True)
class Context:
    """What holds when a request's context says so."""

    name: str
    when: Mapping[str, tuple[str, ...]]
    profile: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    session_share: float | None = None

    def holds(self, present: Mapping[str, str]) -> bool:
        """Whether every feature has one of its values."""
        return all(present.get(feature) in values for feature, values in self.when.items())


def features(named: Mapping[str, str] | None, now: int, *, known: bool) -> dict[str, str]:
    """What is known of the moment; what the caller says stands. None: nothing may be used."""
    if named is None:
        return {}
    own = {"time": TIMES[now % DAY // (DAY // 4)], "first_visit": "no" if known else "yes"}
    return own | dict(named)


def fitted(profile: Profile, contexts: Sequence[Context]) -> Profile:
    """The profile with the factors of every context, one after the other."""
    weights = {name: getattr(profile, name) for name in FACTORS}
    for context in contexts:
        for name, factor in context.profile.items():
            weights[name] *= factor
    return replace(profile, **weights | {"exploration": min(weights["exploration"], 1.0)})


def session_share(contexts: Sequence[Context]) -> float | None:
    """The share of the last context that says one; None: as it is."""
    shares = [context.session_share for context in contexts if context.session_share is not None]
    return shares[-1] if shares else None
