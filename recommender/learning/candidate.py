"""A candidate: a release that is learned, written aside and judged, but not published.

train ─▶ write ─▶ judge

Where the judges find that a simple recommender surely does better over everybody, it is trained,
written and judged in the same way, and is the candidate instead, see `simple.py`.

Judging comes after everything is fitted: gates look at each segment, checks at what was written,
and a candidate that is refused is kept aside whole, so that it can be looked at and published by
force.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graph.domains import Domains
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from recommender.learning.build import Built, Choice, RefreshConfig, Say
from recommender.learning.gates import Verdict
from recommender.learning.going_on import Fits
from recommender.learning.judging import judge
from recommender.learning.simple import is_better, simple_choice
from recommender.learning.train import Trained, train
from recommender.learning.warm import Kept, facts_of
from recommender.learning.writing import write
from recommender.releases.release import Release
from recommender.releases.steps import Steps
from recommender.segments.settings import SegmentSettings


@dataclass(frozen=True)
class Material:
    """What a candidate is made from, and what it is compared with."""

    snapshot: GraphSnapshot
    inbox: dict[str, Any]  # which facts of the journal are in the snapshot, see `mark`
    graph: WeightedGraph
    domains: Domains
    config: RefreshConfig
    settings: SegmentSettings
    parent: Release | None  # the release that is served
    expired: Mapping[str, int]  # kind -> seconds since 1970 before which its events are not kept
    now: int
    say: Say


@dataclass(frozen=True)
class Judged:
    """A release that is written but not published, and what the gates say of it."""

    built: Built
    trained: Trained
    candidate: Release
    verdict: Verdict
    steps: Steps
    kept: Kept | None  # what was kept of the last choices; None: it was chosen again

    @property
    def choice(self) -> Choice:
        """How its table is made."""
        return Choice(self.built.recipe, self.built.manifest["item_table"])


def best_candidate(
    material: Material, steps: Steps, kept: Kept | None, fits: Fits | None
) -> Judged:
    """The candidate, or a simple recommender where that surely finds more over everybody."""
    learned = _judged(material, steps, kept, fits)
    simple = simple_choice(learned.verdict, learned.choice)
    if simple is None:
        return learned
    name, choice = simple
    material.say(f"{name} surely finds more over everybody: fitting that instead")
    alone = Kept(choice, None, frozenset(), facts_of(material.snapshot, material.now))
    other = _judged(material, steps.within("simple"), alone, None)
    return replace(other, kept=None) if is_better(other.verdict, learned.verdict) else learned


def _judged(material: Material, steps: Steps, kept: Kept | None, fits: Fits | None) -> Judged:
    """A candidate, written aside, and what the gates say of it."""
    snapshot, domains, config = material.snapshot, material.domains, material.config
    parent, now, say = material.parent, material.now, material.say
    built, trained = train(
        snapshot, material.graph, domains, config, material.settings, steps,
        parent=parent, kept=kept, fits=fits, now=now, say=say,
    )  # fmt: skip

    def written(folder: Path) -> None:
        say("writing the release")
        write(folder, built, snapshot, config, now=now, parent=parent, inbox=material.inbox)

    candidate = steps.release("candidate", written)
    built = replace(built, arrays={}, vectors={})  # read from the candidate's files instead
    verdict = steps.value(
        "verdict",
        lambda: judge(
            trained, candidate, parent, domains, config, steps,
            expired=material.expired, now=now, say=say,
        ),
    )  # fmt: skip
    return Judged(built, trained, candidate, verdict, steps, kept)
