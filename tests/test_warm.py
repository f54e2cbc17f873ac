"""A refresh after few new events keeps what was chosen; one after many chooses anew."""

import json
import shutil
from contextlib import closing
from dataclasses import asdict, replace

import pytest

from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import Weighting, weigh
from loaders.synthetic import generate
from recommender.learning.build import Choice, RefreshConfig
from recommender.learning.refresh import refresh
from recommender.learning.trial import Made, made_of
from recommender.learning.warm import Kept, kept_from
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release
from tests.planted import without_a_tenth

NOW = 1_760_000_000
CONFIG = RefreshConfig(preset="default", threads=1)
CHOOSING = "choosing how the item table is made"
PROFILES = "learning a profile for each segment"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A home with a release that lacks a tenth of a catalogue, and that tenth."""
    home = Home(tmp_path_factory.mktemp("warm") / "home").create()
    home.segments.write_text("[learned]\nmost = 3\n")
    batches, rest, known = without_a_tenth(*generate(5000, seed=1).batches())
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


def test_few_new_events_keep_recipe_and_profiles(base, tmp_path):
    content, before, after = again(base, tmp_path, 0.02)
    assert CHOOSING not in content
    assert PROFILES not in content
    assert any(line.startswith("keeping what was chosen on 2025-10-09") for line in content)
    for key in ("recipe", "item_table", "chosen"):
        assert after.manifest[key] == before.manifest[key]
    profiles = (segment.manifest["segments"]["profiles"] for segment in (after, before))
    assert next(profiles) == next(profiles) != {}
    assert after.manifest["counts"]["events"] > before.manifest["counts"]["events"]
    assert after.manifest["chosen"]["found"] > 0


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
    content, _, _ = again(base, tmp_path, 0.02, full=True)
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
