"""Learned weights: planted noise is found, what brings nothing stays neutral, nothing leaks."""

import json
import sys
import tomllib
from dataclasses import fields, replace

import numpy as np
import pytest

from api.cli.main import run
from graph.errors import InputError
from graph.last_word import AGAINST
from graph.model import table
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import Weighting, weigh
from graph.weighting_file import load_weighting, parse_weighting, weighting_toml
from recommender.evaluation.truth import cut
from recommender.evaluation.weighting_trial import trial_of
from recommender.evaluation.weighting_tuning import KEPT, NOTHING, tune_weighting
from recommender.learning.build import RefreshConfig
from recommender.learning.split import GATE, pair_parts, relevant_pairs
from recommender.releases.home import Home
from tests.conftest import NOW

NICHES, OF_NICHE, USERS, OF_RAFFLE = 8, 25, 360, 40


def batch(*, noisy_kind=False, tags=False, raffle=False, niches=NICHES, likes=9, seed=0):
    """Users of a niche like some of its items.

    noisy_kind: everybody also glances at eleven items drawn from all, and what is glanced at is
        asked about too.
    tags: items carry their niche under the category "style", and five words as rare but at
        random under "shelf", which tie what has nothing in common; no domains.
    raffle: everybody also likes nine items of a domain that was dealt out by lot.
    """
    rng = np.random.default_rng(seed)
    items = [f"n{n:02}-{i:02}" for n in range(niches) for i in range(OF_NICHE)]
    domains = [{"item": item, "domain": f"niche {item[1:3]}"} for item in items]
    events = []
    for u in range(USERS):
        own = u % niches
        for i in rng.choice(OF_NICHE, likes, replace=False):
            events.append({"user": f"u{u}", "item": f"n{own:02}-{i:02}", "kind": "like"})
        if noisy_kind:
            for i in rng.choice(len(items), 11, replace=False):
                events.append({"user": f"u{u}", "item": items[i], "kind": "glance"})
        if raffle:
            for i in rng.choice(OF_RAFFLE, 9, replace=False):
                events.append({"user": f"u{u}", "item": f"r{i:02}", "kind": "like"})
    if raffle:
        domains += [{"item": f"r{i:02}", "domain": "raffle"} for i in range(OF_RAFFLE)]
    facts = {"events": table("events", events), "item_domains": table("item_domains", domains)}
    if tags:
        rows = [{"item": item, "category": "style", "tag": item[:3]} for item in items]
        rows += [
            {"item": item, "category": "shelf", "tag": f"s{s}"}
            for item in items
            for s in rng.choice(niches * 5, 5, replace=False)
        ]
        del facts["item_domains"]
        facts["item_tags"] = table("item_tags", rows)
    return facts


def snapshot_of(folder, *batches):
    store = EmbeddedStore(folder / "store.sqlite")
    for batch_of_events in batches:
        store.apply(batch_of_events)
    result = take_snapshot(store)
    store.close()
    return result


def tuned(snapshot, **options):
    options = {"now": NOW, "trials": 30, "threads": 1} | options
    return tune_weighting(snapshot, Weighting(), **options)


def by_name(result):
    return {weight.knob.name: weight for weight in result.weights}


def test_a_kind_of_event_that_is_noise_is_turned_down(tmp_path):
    result = tuned(snapshot_of(tmp_path, batch(noisy_kind=True)))
    kinds = by_name(result)
    like, glance = kinds["kinds.like"], kinds["kinds.glance"]
    assert glance.value <= 0.25 * like.value
    assert KEPT in (glance.verdict, like.verdict)
    assert result.gain.low > 0


def test_a_tag_category_that_is_noise_is_turned_down_and_the_other_not(tmp_path):
    snapshot = snapshot_of(tmp_path, batch(tags=True, niches=40, likes=5))
    result = tuned(snapshot)
    weights = by_name(result)
    shelf, style = weights["categories.shelf"], weights["categories.style"]
    assert shelf.value <= 0.5 * style.value
    assert KEPT in (shelf.verdict, style.verdict)
    assert result.gain.low > 0
    trial = trial_of(snapshot, Weighting(), now=NOW, seed=0, threads=1)
    without = Weighting(categories={"style": 1.0, "shelf": 0.0})
    neutral, best, learned = (
        trial.ndcg(weighting).mean() for weighting in (Weighting(), without, result.weighting)
    )
    assert learned - neutral > 0.75 * (best - neutral) > 0.02


def test_tags_weigh_the_same_together_whatever_the_weighting_says(tmp_path):
    """How much all of them weigh a refresh finds by itself: only one beside another can be told."""
    snapshot = snapshot_of(tmp_path, batch(tags=True, niches=40, likes=5))
    trial = trial_of(snapshot, Weighting(), now=NOW, seed=0, threads=1)
    assert trial.tags_weigh > 0
    thrice = Weighting(categories={"style": 3.0, "shelf": 3.0})
    assert trial.ndcg(thrice) == pytest.approx(trial.ndcg(Weighting()), abs=1e-6)
    none = Weighting(categories={"style": 0.0, "shelf": 0.0})
    assert trial.ndcg(none).mean() < trial.ndcg(Weighting()).mean()


def test_a_domain_that_is_noise_is_turned_down(tmp_path):
    result = tuned(snapshot_of(tmp_path, batch(raffle=True)), trials=40)
    weights = by_name(result)
    niches = [entry.value for name, entry in weights.items() if name.startswith("domains.niche")]
    assert weights["domains.raffle"].value < min(niches)
    assert weights["domains.raffle"].verdict == KEPT


def test_where_nothing_is_to_be_found_every_weight_stays_neutral(tmp_path):
    result = tuned(snapshot_of(tmp_path, batch()))
    assert all(
        weight.verdict == NOTHING and weight.value == weight.knob.neutral
        for weight in result.weights
    )
    assert result.gain.mean == 0
    assert "the only kind of event" in " ".join(result.notes)


def test_the_same_seed_finds_the_same(tmp_path):
    snapshot = snapshot_of(tmp_path, batch(noisy_kind=True))
    first, other = tuned(snapshot, trials=12), tuned(snapshot, trials=12, threads=2)
    assert first.to_toml() == other.to_toml()
    assert tuned(snapshot, trials=12, seed=5).weights != first.weights


def test_what_lies_in_the_gate_or_test_part_is_never_seen(tmp_path):
    """Two worlds that differ in kinds, values and tags of test and gate events only."""
    facts = batch(noisy_kind=True, tags=True)
    snapshot = snapshot_of(tmp_path, facts)
    config = RefreshConfig(seed=0)
    fit, test = cut(snapshot, config, "random", now=NOW)
    pairs = relevant_pairs(fit, weigh(fit, Weighting(), NOW).user_items, 0)
    gate = pair_parts(pairs) == GATE
    users = np.concatenate([test.pairs[0], pairs.users[gate]])
    items = np.concatenate([test.pairs[1], pairs.items[gate]])
    planted = [
        {
            "user": snapshot.users.id(int(user)),
            "item": snapshot.items.id(int(item)),
            "kind": "like",
            "value": 40.0,
            "tag": "s1",
            "at": NOW - 60,
        }
        for user, item in zip(users, items, strict=True)
    ]
    (tmp_path / "more").mkdir()
    more = snapshot_of(tmp_path / "more", facts, {"events": table("events", planted)})
    other, again = cut(more, config, "random", now=NOW)
    assert all(map(np.array_equal, again.pairs, test.pairs))
    assert fit.fingerprint != other.fingerprint  # the gate part does differ
    assert tuned(fit, trials=15).to_toml() == tuned(other, trials=15).to_toml()


def test_an_edge_that_may_be_seen_does_change_what_is_found(tmp_path):
    """The comparison above can fail."""
    snapshot = snapshot_of(tmp_path, batch(noisy_kind=True))
    events = snapshot.events
    keep = np.arange(len(events.user)) % 50 != 7
    columns = {part.name: getattr(events, part.name)[keep] for part in fields(events)}
    less = replace(snapshot, events=type(events)(**columns))
    assert tuned(snapshot, trials=5).to_toml() != tuned(less, trials=5).to_toml()


def test_time_ends_the_search(tmp_path):
    result = tuned(snapshot_of(tmp_path, batch(noisy_kind=True)), seconds=0.0)
    assert result.trials == 1
    assert result.stopped_by_time


def test_too_few_users_are_told(tmp_path):
    facts = {"events": table("events", [{"user": "a", "item": "b", "kind": "like"}])}
    with pytest.raises(InputError, match="40 are needed"):
        tuned(snapshot_of(tmp_path, facts))


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    snapshot = snapshot_of(tmp_path, batch())
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"nichegraph\[train\]"):
        tuned(snapshot)


# ── the file ─────────────────────────────────────────────────────────────────────────────


def test_a_written_weighting_is_read_back():
    weighting = Weighting(
        kinds={"like it": 2.0, 'say "no"\\': 0.25, "a\x7fb": 1.0, "🜂": 0.1},
        categories={"genre": 0.0},
        domains={"graph theory": 1.5},
        relations={"cites": 0.5},
        half_life_days=30.0,
        tag_rarity=0.25,
        user_events=2,
        rating_kinds=("rating", "stars"),
        relevant_from=0.5,
    )
    remarks = {("kinds", "like it"): "two\nlines", ("age", "none"): "x", ("domains", "y"): "z"}
    text = weighting_toml(weighting, remarks, "first\n\nsecond")
    assert parse_weighting(tomllib.loads(text)) == weighting
    assert parse_weighting(tomllib.loads(weighting_toml(Weighting(), {}))) == Weighting()


def test_no_kinds_are_no_kinds_when_read_back():
    weighting = Weighting(kinds={})
    assert parse_weighting(tomllib.loads(weighting_toml(weighting, {}))) == weighting


# ── the command ──────────────────────────────────────────────────────────────────────────


def test_the_command_writes_what_a_refresh_reads(tmp_path, capfd):
    home = Home(tmp_path / "home").create()
    store = EmbeddedStore(home.store)
    store.apply(batch(noisy_kind=True))
    store.close()
    tune = ["--home", str(home.folder), "tune", "weighting", "--trials", "20", "--minutes", "5"]
    assert run([*tune, "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    learned = load_weighting(home.weighting)
    lists = {"rating_kinds": ("rating",), "against_kinds": AGAINST}  # JSON has no tuples
    assert learned.to_json() == report["weighting"] | lists
    assert learned.kinds["glance"] < learned.kinds["like"]
    assert {kind["weight"] for kind in report["weights"]} >= {"kinds.like", "kinds.glance"}
    assert run(tune) == 1
    assert "--replace" in capfd.readouterr().err
    tune[tune.index("20")] = "6"
    assert run([*tune, "--replace"]) == 0
    shown = capfd.readouterr()
    assert "kinds.glance" in shown.out
    assert "trial 6 of 6" in shown.err
    assert run(["--home", str(home.folder), "refresh", "--preset", "fast"]) == 0
