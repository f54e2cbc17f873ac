"""A warm refresh: it keeps what the last one chose, as long as the data hardly changes.

What is kept is the recipe with its exponents, and the profiles of the segments. Of the table only
what changed is learned anew, see `going_on`; users are grouped and gates judge as in any refresh.
Recipe and profiles are chosen anew

- when the number of events or of items has changed by more than `MOVED` since they were chosen;
- when, up to the release before, NDCG@20 on the gate part has fallen by more than `DRIFTED`;
- when there is nothing to keep: another preset, weighting or seed, other features of items, another
  version, a preset that trains networks; or when it is asked for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from recommender.learning.build import Choice, RefreshConfig
from recommender.learning.gates import EVERYBODY
from recommender.learning.held_parts import features_of
from recommender.learning.trial import made_of
from recommender.releases.release import Release

MOVED = 0.05  # share by which the number of events, and of items, may change
DRIFTED = 0.03  # share of NDCG@20 on the gate part that may be lost


@dataclass(frozen=True)
class Kept:
    """What a warm refresh takes from the release before."""

    choice: Choice
    profiles: dict[str, Any] | None  # segment -> its profile; None if none were to be learned
    segments: frozenset[str]  # that could have got one; small ones got none
    facts: dict[str, Any]  # when and on what all this was chosen, see `facts_of`

    def profiles_of(self, names: Iterable[str]) -> dict[str, Any] | None:
        """The profiles, if they were learned with all these segments in view."""
        return self.profiles if self.segments.issuperset(names) else None


def kept_from(
    parent: Release | None,
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    config: RefreshConfig,
) -> tuple[Kept | None, str]:
    """What can be kept of the release before, or None; and a sentence that says why."""
    if parent is None:
        return None, "there is no release to keep it from"
    made, facts = made_of(parent.manifest), parent.manifest.get("chosen")
    if made is None or not isinstance(facts, dict):
        return None, "the previous release was made by another version"
    if config.preset == "graph":
        return None, "the preset graph trains its networks each time"
    changed = configuration_changed(parent, config)
    if changed:
        return None, f"{' and '.join(changed)} changed"
    if len(made.recipe.feature_weights) != len(features_of(graph)):
        return None, "items have other kinds of features now"
    for kind, count in counts_of(snapshot).items():
        moved = abs(count - facts[kind]) / max(facts[kind], 1)
        if moved > MOVED:
            return None, f"{kind} went from {facts[kind]:,} to {count:,} since it was chosen"
    fallen = drift_of_gate(parent.manifest)
    if fallen:
        return None, fallen
    day = datetime.fromtimestamp(facts["at"], UTC).strftime("%Y-%m-%d")
    events = counts_of(snapshot)["events"] - facts["events"]
    segments = parent.manifest.get("segments", {})
    kept = Kept(
        choice=Choice(made.recipe, parent.manifest["item_table"]),
        profiles=segments.get("profiles"),
        segments=frozenset(segments.get("names", [])),
        facts=facts,
    )
    return kept, f"keeping what was chosen on {day}, {events:+,} events ago"


def drift_of_gate(manifest: Mapping[str, Any]) -> str | None:
    """How far NDCG@20 on the gate part fell since a release's recipe was chosen; None: not far."""
    then = (manifest.get("chosen") or {}).get("found")
    ndcg = found_by(manifest.get("gates", {}))
    if ndcg is None or not then or ndcg >= (1 - DRIFTED) * then:
        return None
    return f"NDCG@20 of the gate fell from {then:.4f} to {ndcg:.4f} since it was chosen"


def configuration_changed(parent: Release, config: RefreshConfig) -> list[str]:
    """Which of preset, seed, weighting, consent and table settings differ from a release's."""
    unsaid = {"consent": True, "table": {}}
    before, now = unsaid | parent.manifest["config"], config.to_json()
    same = ("preset", "seed", "weighting", "consent", "table")
    return [key for key in same if _plain(before.get(key)) != _plain(now[key])]


def facts_of(snapshot: GraphSnapshot, now: int) -> dict[str, Any]:
    """When a choice was made, and on how much data; `found` is filled in after judging."""
    return {"at": now, **counts_of(snapshot), "found": None}


def counts_of(snapshot: GraphSnapshot) -> dict[str, int]:
    """The counts that tell whether the data has changed."""
    return {"events": len(snapshot.events.user), "items": len(snapshot.items)}


def found_by(gates: Mapping[str, Any]) -> float | None:
    """NDCG@20 of a judged release over everybody; None when there were too few users."""
    for figure in gates.get("figures", []):
        if figure["part"] == EVERYBODY:
            return float(figure["candidate"])
    return None


def _plain(value: Any) -> Any:
    """The value as it comes back from JSON: tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
