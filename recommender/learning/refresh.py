"""The nightly job: freeze the graph, weigh it, learn from it, publish what was learned.

snapshot ─▶ weigh ─▶ train ─▶ write ─▶ judge ─▶ verify ─▶ publish

Training, writing and judging make a candidate, see `candidate.py`; the steps of training are in
`train.py`, those of judging in `judging.py`.

A release is written aside and becomes visible at the very end. If anything fails before, or the
candidate is refused, the old release stays in service.
"""

import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graph.domains import derive_domains
from graph.errors import GateRefused
from graph.findings import save_findings
from graph.freed import give_back_freed
from graph.snapshot import EventColumns, GraphSnapshot, Links, Relations, take_snapshot
from graph.store import GraphStore
from graph.weighting import SECONDS_A_DAY, weigh
from recommender.inbox.facts import CONSENT
from recommender.inbox.journal import Journal
from recommender.learning.build import RefreshConfig, Say
from recommender.learning.candidate import Judged, Material, best_candidate
from recommender.learning.going_on import fits_of, keep
from recommender.learning.grouping_step import save_report
from recommender.learning.judging import JUDGED
from recommender.learning.stability import parent_of
from recommender.learning.train import RESULTS
from recommender.learning.warm import Kept, facts_of, found_by, kept_from
from recommender.learning.writing import fingerprint
from recommender.overlay.erasure import scrub_releases
from recommender.overlay.mark import mark
from recommender.overlay.retention_file import load_retention
from recommender.overlay.state import note_hidden, read_state
from recommender.releases.findings import findings_of
from recommender.releases.home import Home
from recommender.releases.journal_key import key_of
from recommender.releases.lease import Fence
from recommender.releases.publishing import (
    collect_leftovers,
    newest,
    note,
    oldest_watermark,
    publish,
    set_aside,
)
from recommender.releases.release import Release
from recommender.releases.steps import digest_of, taken_up
from recommender.segments.settings import SegmentSettings, load_segment_settings


@dataclass(frozen=True)
class Frozen:
    """What a refresh learns from, and which facts of the journal are in it, see `mark`."""

    snapshot: GraphSnapshot
    inbox: dict[str, Any]


FROZEN = (Frozen, GraphSnapshot, EventColumns, Links, Relations)
"""The dataclasses of a snapshot, which is the first of the steps."""


def refresh(
    store: GraphStore,
    home: Home,
    config: RefreshConfig,
    *,
    now: int,
    say: Say = lambda _: None,
    force: bool = False,
    full: bool = False,
    fence: Fence | None = None,
) -> Release:
    """Make a release from the store and serve it; if anything fails, the old one stays.

    Args:
        store: it is read once, at its present watermark; a refresh that goes on after one that
            was killed learns from what that one had read, if nothing was loaded or erased since.
        home: where releases lie.
        config: what to compute.
        now: seconds since 1970, for the age of events and the manifest.
        say: called with the name of each step.
        force: publish even what the gates refuse; the manifest keeps saying so.
        full: choose and fit everything again; otherwise the last choices are kept if they still
            fit, see `kept_from`, and only what changed is learned anew, see `going_on`.
        fence: see `publish`.

    Raises:
        GateRefused: it is worse than what is served, or failed a check; it is kept aside with
            its report.
        ReleaseError: another refresh has meanwhile published a newer snapshot.
    """
    give_back_freed()
    collect_leftovers(home)
    settings = load_segment_settings(home.segments)
    expired = _expired(home, now)
    parent, since = parent_of(home), newest(home)
    fits = None if full else fits_of(home, parent)
    last_load = max((load.load for load in store.loads()), default=0)
    digest = digest_of(
        [*_all_but_news(store, home, parent), config.to_json(), repr(settings), full, bool(fits)]
    )
    with taken_up(home, digest, (*RESULTS, *JUDGED, *FROZEN), now=now, say=say) as begun:
        frozen = begun.value("snapshot", lambda: _frozen(store, home, config, say))
        name = fingerprint(frozen.snapshot, config, parent)
        steps = begun.within(name)  # made from this snapshot and no other
        material = _material(frozen, config, settings, parent, expired, begun.now, say)
        kept = _kept(material, full=full)
        best = best_candidate(material, steps, kept, fits if kept else None)
        verdict = replace(best.verdict, forced=force and not best.verdict.passed)
        gates = verdict.to_json()
        chosen = _chosen(best, material, gates)
        note(best.candidate.folder, {"gates": gates, "chosen": chosen, "last_load": last_load})
        if not verdict.passed and not force:
            aside = set_aside(home, best.candidate.folder, name)
            shutil.rmtree(begun.folder)
            raise GateRefused(
                f"the new release is not published: {verdict.sentence()}. It is kept aside as "
                f"{aside}; `nichegraph releases list` shows it, --force publishes it anyway"
            )

        def newest_word() -> None:
            """What the snapshot says of hidden items holds over every release from now on."""
            note_hidden(home, hidden_items(frozen.snapshot), oldest_watermark(home))

        release = publish(home, best.candidate.folder, name, since, fence, before=newest_word)
        keep(home, best.steps, best.built.fit, release)
    scrubbed = scrub_releases(home)
    if scrubbed:
        say(f"removed erased people from {', '.join(scrubbed)}")
    save_report(home, release, best.trained.groups)
    save_findings(findings_of(release), home.explore)
    return release


def _expired(home: Home, now: int) -> dict[str, int]:
    """For each kind that is not kept for ever, since when its events are kept."""
    return {rule.kind: now - rule.days * SECONDS_A_DAY for rule in load_retention(home.retention)}


def _all_but_news(store: GraphStore, home: Home, parent: Release | None) -> list[Any]:
    """What must be as it was for a refresh to go on after one that was killed.

    What came by the journal meanwhile is not in it: over the release that is made, the overlay
    adds it. It adds no load, and nothing is to be learned from who was erased or withdrew `train`,
    nor from what is no longer to be kept.
    """
    before = parent.manifest.get("fingerprint") if parent else None
    loads = [repr(load) for load in store.loads()]
    with closing(Journal(home.inbox, key=key_of(home))) as journal:
        consents = journal.standing_facts(journal.last_sequence())
        withdrawn = [row.sequence for row in consents if row.payload[CONSENT].get("train") is False]
        newer = [journal.identity(), journal.last_load(), withdrawn[-1:]]
    rules = [repr(rule) for rule in load_retention(home.retention)]
    return [before, store.uri, *newer, loads, rules, repr(read_state(home).erased)]


def _frozen(store: GraphStore, home: Home, config: RefreshConfig, say: Say) -> Frozen:
    say("taking a snapshot")
    inbox, watermark = mark(home, store)
    return Frozen(take_snapshot(store, watermark, consent=config.consent), inbox)


def _material(
    frozen: Frozen,
    config: RefreshConfig,
    settings: SegmentSettings,
    parent: Release | None,
    expired: dict[str, int],
    now: int,
    say: Say,
) -> Material:
    """The snapshot with weights, and all else that a candidate is made from."""
    snapshot = frozen.snapshot
    say(f"weighing {len(snapshot.events.user):,} events")
    domains = derive_domains(snapshot, config.seed)
    return Material(
        snapshot=snapshot,
        inbox=frozen.inbox,
        graph=weigh(snapshot, config.weighting, now, domains),
        domains=domains,
        config=config,
        settings=settings,
        parent=parent,
        expired=expired,
        now=now,
        say=say,
    )


def _kept(material: Material, *, full: bool) -> Kept | None:
    """The last choices, if they are to be kept and still fit."""
    if full:
        material.say("choosing again")
        return None
    kept, why = kept_from(material.parent, material.snapshot, material.graph, material.config)
    material.say(why if kept else f"choosing again: {why}")
    return kept


def _chosen(best: Judged, material: Material, gates: dict[str, Any]) -> dict[str, Any]:
    """What the next refresh goes by when it asks whether these choices still fit."""
    if best.kept is not None:
        return best.kept.facts
    return facts_of(material.snapshot, material.now) | {"found": found_by(gates)}


def hidden_items(snapshot: GraphSnapshot) -> list[str]:
    """Ids of the items that are hidden in a snapshot."""
    return snapshot.items.ids(np.flatnonzero(snapshot.item_hidden).tolist())
