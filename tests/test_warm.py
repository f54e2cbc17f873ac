"""A refresh after few new events keeps what was chosen; one after many chooses anew."""

import json
import shutil
from contextlib import closing
from dataclasses import asdict, replace
from types import SimpleNamespace
from unittest.mock import ANY

import numpy as np
import pytest
from scipy import sparse

from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import Weighting, weigh
from loaders.synthetic import generate
from recommender.learning import gate_figures, judging
from recommender.learning.build import Choice, RefreshConfig
from recommender.learning.going_on import changes_since, fits_of, learned_pairs, too_much
from recommender.learning.parts import parts_of
from recommender.learning.refresh import _kept, refresh
from recommender.learning.split import GATE, SELECT
from recommender.learning.trial import Made, made_of
from recommender.learning.warm import Kept, kept_from
from recommender.overlay.erasure import erase
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release
from tests.planted import without_a_tenth

NOW = 1_760_000_000
CONFIG = RefreshConfig(preset="default", threads=1)
CHOOSING = "choosing how the item table is made"
PROFILES = "learning a profile for each segment"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A home with a release that lacks a tenth of a catalogue, and that tenth; 260 users."""
    home = Home(tmp_path_factory.mktemp("warm") / "home").create()
    home.segments.write_text("[learned]\nmost = 3\n")
    batches, rest, known = without_a_tenth(*generate(6500, seed=1).batches())
    with closing(EmbeddedStore(home.store)) as store:
        for batch in batches:
            store.apply(batch)
        refresh(store, home, CONFIG, now=NOW)
    return home, rest, known


def again(base, folder, share, config=CONFIG, **more):
    """Refreshed with a share of new events: what it said, and the releases before and after."""
    source, events, known = base
    home = Home(shutil.copytree(source.folder, folder / "home"))
    before, content = open_release(home.releases / current(home)), []
    with closing(EmbeddedStore(home.store)) as store:
        store.apply({"events": events.slice(0, int(share * known))})
        after = refresh(store, home, config, now=NOW + 86_400, say=content.append, **more)
    return content, before, after


@pytest.fixture(scope="module")
def little(base, tmp_path_factory):
    """Refreshed with a few new events, as `again` gives it, and the trial that gates judged."""
    trials = []

    def figures(trial, *others, **more):
        trials.append(trial)
        return gate_figures.figures(trial, *others, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "figures", figures)
        content, before, after = again(base, tmp_path_factory.mktemp("little"), 0.02)
    return content, before, after, trials[0]


def test_few_new_events_keep_recipe_and_profiles(little):
    content, before, after, _ = little
    assert CHOOSING not in content
    assert PROFILES not in content
    assert any(line.startswith("keeping what was chosen on 2025-10-09") for line in content)
    for key in ("recipe", "item_table", "chosen"):
        assert after.manifest[key] == before.manifest[key]
    profiles = (segment.manifest["segments"]["profiles"] for segment in (after, before))
    assert next(profiles) == next(profiles) != {}
    assert after.manifest["counts"]["events"] > before.manifest["counts"]["events"]
    assert after.manifest["chosen"]["found"] > 0


def test_few_new_events_change_few_items(base, little):
    """The others speak for each other as before, and what is kept is the new fit."""
    content, before, after, _ = little
    (going_on,) = [line for line in content if line.startswith("going on from the last fit")]
    count = int(going_on.split(": ")[1].split()[0])
    assert 0 < count < 0.5 * len(after.items)
    assert list(after.items) == list(before.items)
    same = changed = 0
    for old, new in zip(entries(before), entries(after), strict=True):
        for target in old.keys() & new.keys():
            same += old[target] == new[target]
            changed += old[target] != new[target]
    assert changed > 0
    assert same / (same + changed) > 1 - 1.5 * count / len(after.items)
    home = Home(after.folder.parents[1])
    fits = fits_of(home, after)
    assert fits.whole.fit.moved > 0
    assert fits_of(home, before) is None
    assert fits.trial.release.manifest["recipe"] == after.manifest["recipe"]


def entries(release):
    """Of each item, its targets and their scores."""
    table = zip(release.arrays["table.neighbours"], release.arrays["table.scores"], strict=True)
    return [dict(zip(*map(np.ndarray.tolist, row), strict=True)) for row in table]


def test_nothing_that_a_trial_has_learned_from_is_held_back_later(base, little):
    """Where a user has more pairs now, one that the last trial knew would come to be held back."""
    before, after, trial = little[1:]
    home = Home(after.folder.parents[1])
    with closing(EmbeddedStore(home.store)) as store:
        snapshot = take_snapshot(store)
    known = learned_pairs(fits_of(base[0], before).trial.release, snapshot)

    def held_back(parts):
        users, items = map(np.concatenate, zip(parts.rows(GATE), parts.rows(SELECT), strict=True))
        return users * len(snapshot.items) + items

    assert np.isin(held_back(parts_of(snapshot, CONFIG.seed)), known).any()
    parts = parts_of(snapshot, CONFIG.seed, known)
    assert not np.isin(held_back(parts), known).any()
    for part, wanted in ((GATE, trial.gate), (SELECT, trial.select)):
        assert (parts.of(part, wanted.truth.shape) != wanted.truth).nnz == 0
        assert wanted.truth.multiply(trial.graph.user_items).nnz == 0
        assert wanted.truth.nnz > 0


def test_pairs_that_came_and_went_are_counted_item_by_item(base):
    """A user's pair with the most popular item goes, and they get one with another item."""
    home = base[0]
    parent = open_release(home.releases / current(home))
    with closing(EmbeddedStore(home.store)) as store:
        snapshot = take_snapshot(store)
    graph = weigh(snapshot, CONFIG.weighting, NOW)
    fits = fits_of(home, parent)
    unchanged = changes_since(fits.whole, snapshot, graph)
    assert not unchanged.changed.any()
    assert unchanged.moved == 0
    user_items = sparse.lil_array(graph.user_items)
    counts = np.diff(graph.user_items.tocsc().indptr)
    user = int(np.flatnonzero(graph.user_items.tocsc()[:, [counts.argmax()]].toarray())[0])
    rare = min((row for row in range(len(counts)) if not user_items[user, row]),
               key=lambda row: (counts[row] == 0, counts[row]))  # fmt: skip
    user_items[user, counts.argmax()] = 0
    user_items[user, rare] = 1
    changes = changes_since(
        fits.whole, snapshot, replace(graph, user_items=sparse.csr_array(user_items))
    )
    assert changes.moved == 2
    assert np.flatnonzero(changes.changed).tolist() == [rare]
    assert np.flatnonzero(changes.pending).tolist() == [counts.argmax()]  # too little to learn
    assert not too_much(changes, graph)
    assert too_much(replace(changes, moved=int(0.06 * graph.user_items.nnz)), graph)


def test_an_erasure_leaves_nothing_to_go_on_from(base, tmp_path):
    """A trial knows who did what."""
    home = Home(shutil.copytree(base[0].folder, tmp_path / "home"))
    parent = open_release(home.releases / current(home))
    assert fits_of(home, parent) is not None
    with closing(EmbeddedStore(home.store)) as store:
        erase(store, home, parent.users.id(0))
    assert fits_of(home, parent) is None
    assert not home.kept.exists()


def test_a_damaged_fit_is_not_gone_on_from(base, tmp_path, monkeypatch):
    home = Home(shutil.copytree(base[0].folder, tmp_path / "home"))
    parent = open_release(home.releases / current(home))
    (array,) = home.kept.glob("*/fit/0.npy")
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    assert fits_of(home, parent) is None
    monkeypatch.setattr("recommender.releases.steps._sum", lambda _: ANY)
    assert fits_of(home, parent) is not None  # its sums are what keeps it out


def test_the_served_recipe_is_not_fitted_again_beside_the_same_candidate(base):
    """What a manifest says it was made by equals what made it, so one trial stands for both."""
    home = base[0]
    made = made_of(open_release(home.releases / current(home)).manifest)
    assert made == Made(made.recipe, CONFIG.weighting, CONFIG.preset)
    scaled = replace(CONFIG, weighting=Weighting(rating_scale=(1.0, 5.0), typical={"play": 9.0}))
    manifest = {"config": scaled.to_json(), "recipe": asdict(made.recipe)}
    assert made_of(json.loads(json.dumps(manifest))) == replace(made, weighting=scaled.weighting)


def test_a_segment_without_a_profile_of_its_own_does_not_end_a_choice():
    """It had too few users for one, and would have too few again."""
    kept = Kept(Choice(None), {"default": {}, "many": {}}, frozenset({"many", "few"}), {})
    assert kept.profiles_of(["many", "few"]) == {"default": {}, "many": {}}
    assert kept.profiles_of(["many", "new"]) is None
    assert replace(kept, profiles=None).profiles_of(["many"]) is None


def test_many_new_events_choose_anew(base, tmp_path):
    content, before, after = again(base, tmp_path, 0.08)
    assert CHOOSING in content
    assert [line for line in content if line.startswith("choosing again: events went from")]
    assert after.manifest["chosen"]["at"] == before.manifest["chosen"]["at"] + 86_400
    assert after.manifest["chosen"]["events"] > before.manifest["chosen"]["events"]


def test_it_chooses_anew_when_it_is_asked_to(base, tmp_path):
    content, _, _ = again(base, tmp_path, 0.02, full=True, force=True)  # whatever gates say of it
    assert CHOOSING in content
    assert "choosing again" in content


def test_what_else_ends_a_choice(base):
    home = base[0]
    parent = open_release(home.releases / current(home))
    with closing(EmbeddedStore(home.store)) as store:
        snapshot = take_snapshot(store)
    graph = weigh(snapshot, CONFIG.weighting, NOW)

    def why(config=CONFIG, parent=parent, **changed):
        if changed:
            parent = replace(parent, manifest=parent.manifest | changed)
        kept, reason = kept_from(parent, snapshot, graph, config)
        assert (kept is not None) == reason.startswith("keeping")
        return reason

    assert why().endswith("+0 events ago")
    assert "preset changed" in why(replace(CONFIG, preset="fast"))
    assert "seed and weighting changed" in why(
        replace(CONFIG, seed=1, weighting=Weighting(tag_rarity=0.25))
    )
    assert "trains its networks" in why(replace(CONFIG, preset="graph"))
    assert "another version" in why(chosen=None)
    assert "no release" in why(parent=None)
    chosen, gates = parent.manifest["chosen"], parent.manifest["gates"]
    assert chosen["found"] == pytest.approx(gates["figures"][0]["candidate"])
    # Three hundredths of what was found may be lost.
    assert why(chosen=chosen | {"found": chosen["found"] / 0.975}).startswith("keeping")
    assert "fell from" in why(chosen=chosen | {"found": chosen["found"] / 0.965})
    assert "items went from" in why(chosen=chosen | {"items": chosen["items"] * 2})


def test_who_wants_all_anew_does_not_need_what_was_kept(monkeypatch):
    """An odd manifest of the last release must not stop the way out of it."""

    def odd(*_):
        raise KeyError("at")

    monkeypatch.setattr("recommender.learning.refresh.kept_from", odd)
    material = SimpleNamespace(say=lambda _: None)
    assert _kept(material, full=True) is None
