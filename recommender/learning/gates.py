"""Whether a candidate may be published, decided from figures and the checks' reasons alone.

Three kinds of reasons refuse it:

- a **comparison**: over everybody or in one part (a segment, the long tail, cold items) it surely
  finds less than the served release, or less than a simple recommender that beats the served one;
- a **fall**: it finds far less than the served release did when that was judged;
- a **check** without statistics: something about the data or the result cannot be right.

"Surely" holds for all comparisons of a refresh together: at most one refresh in a
hundred is refused by chance alone. Small losses are let through: `MARGIN` and `PART_MARGIN`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

CONFIDENCE = 0.99  # for all comparisons of one refresh together
MARGIN = 0.01  # share of a rival's NDCG@20 over everybody that may be lost
PART_MARGIN = 0.05  # of the same in one part
FEWEST_JUDGED = 30  # users in a part; with fewer it is not judged
FALL, SURE = 0.25, 3.0  # of the served NDCG@20 that may be lost; standard errors on top
EVERYBODY, SERVED = "everybody", "served"
CHECK = "check what changed in the weighting and in the data"


@dataclass(frozen=True)
class Comparison:
    """A rival in one part, and by how much the candidate beats it, by paired bootstrap."""

    mean: float  # the rival's NDCG@20
    difference: float  # the candidate's NDCG@20 minus the rival's
    low: float  # of a 95 % interval
    high: float
    bound: float  # the difference surely lies below it


@dataclass(frozen=True)
class Figure:
    """NDCG@20 of the candidate in one part, beside its rivals."""

    part: str
    users: int
    candidate: float
    error: float  # standard error of the mean
    rivals: Mapping[str, Comparison]


@dataclass(frozen=True)
class Reason:
    """Why a candidate is refused."""

    gate: str  # its name
    text: str  # what was seen, and what to do


@dataclass(frozen=True)
class Verdict:
    """What the gates say."""

    figures: Sequence[Figure] = ()
    reasons: Sequence[Reason] = ()
    checks: Sequence[str] = field(default=())  # names of all checks that were made
    forced: bool = False  # published although there are reasons
    notes: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether there is no reason against the candidate."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """As manifest and report hold it."""
        return {
            "passed": self.passed,
            "forced": self.forced,
            "reasons": [asdict(reason) for reason in self.reasons],
            "notes": list(self.notes),
            "checks": list(self.checks),
            "figures": [_rounded(asdict(figure)) for figure in self.figures],
        }

    def sentence(self) -> str:
        """The reasons in one sentence."""
        return "; ".join(reason.text for reason in self.reasons)


def compared(figures: Sequence[Figure], *, first: bool) -> tuple[list[Reason], list[str]]:
    """Where a candidate finds surely less than what is served or than the best simple one.

    A loss against a simple recommender refuses the candidate only if something better stays in
    service: not if it would be the `first` release, nor if the served one finds no more than the
    candidate. Then the loss is only noted, as is one within the margin: no sure loss goes unsaid.
    """
    reasons, notes = [], []
    for figure in figures:
        margin = MARGIN if figure.part == EVERYBODY else PART_MARGIN
        let_through = f"surely less, but not surely by more than the {margin:.0%} that may be lost"
        simple = {name: values for name, values in figure.rivals.items() if name != SERVED}
        served = figure.rivals.get(SERVED)
        if served is not None and served.bound < 0:
            lost = _lost(figure, served.mean, "the release that is served")
            if behind(served, margin):
                reasons.append(Reason(f"served: {figure.part}", f"{lost}; {CHECK}"))
            else:
                notes.append(f"{lost}; {let_through}")
        if not simple:
            continue
        best = max(simple, key=lambda name: simple[name].mean)
        rival = simple[best]
        if rival.bound >= 0:
            continue
        lost = _lost(figure, rival.mean, f"plain {best}")
        no_worse = served is not None and -served.difference <= margin * rival.mean
        if not behind(rival, margin):
            notes.append(f"{lost}; {let_through}")
        elif first:
            notes.append(f"{lost}; it is published because nothing else is served yet")
        elif no_worse:
            notes.append(f"{lost}; it is published because the served release finds no more")
        else:
            reasons.append(Reason(f"baseline: {figure.part}", f"{lost}; {CHECK}"))
    return reasons, notes


def behind(rival: Comparison, margin: float) -> bool:
    """Whether a candidate surely finds less than a rival, by more than this share of it."""
    return rival.bound < -margin * rival.mean


def _lost(figure: Figure, rival: float, whom: str) -> str:
    return (
        f"{figure.part} ({figure.users:,} users): NDCG@20 is {figure.candidate:.4f} and "
        f"{rival:.4f} by {whom}"
    )


def fallen(figures: Sequence[Figure], before: Sequence[Mapping[str, Any]]) -> list[Reason]:
    """A reason if the candidate finds far less than the served release found when it was judged.

    `before` are the figures in its manifest. Both were judged on their own gate part.
    """
    now = next((figure for figure in figures if figure.part == EVERYBODY), None)
    then = next((figure for figure in before if figure.get("part") == EVERYBODY), None)
    if now is None or then is None:
        return []
    error = (now.error**2 + float(then["error"]) ** 2) ** 0.5
    floor = (1 - FALL) * float(then["candidate"]) - SURE * error
    if now.candidate >= floor:
        return []
    return [
        Reason(
            "fall",
            f"NDCG@20 fell from {float(then['candidate']):.4f}, when the served release was "
            f"judged, to {now.candidate:.4f}; check the last loads with `nichegraph status`",
        )
    ]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return value
