"""Two refreshes of nearly the same data give nearly the same vectors, and say how near."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from api.cli.main import run
from embeddings.item_item import graph_filter as gf
from embeddings.item_item.recipe import Recipe
from embeddings.item_item.spectrum import spectrum
from embeddings.vectors.align import neighbour_overlap
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.vocabulary import Vocabulary
from graph.weighting import weigh
from recommender.learning.build import Built, RefreshConfig, build
from recommender.learning.refresh import fingerprint, refresh
from recommender.learning.stability import drift_of, parent_of, start_of, turned
from recommender.releases.home import Home
from tests.conftest import NOW
from tests.planted import niches

CONFIG = RefreshConfig(preset="fast", threads=1)


@pytest.fixture
def home(planted_home, tmp_path):
    """A copy of the planted home, to be changed."""
    shutil.copytree(planted_home.folder, tmp_path / "home")
    return Home(tmp_path / "home")


def refreshed(home, config=CONFIG):
    store = EmbeddedStore(home.store)
    try:
        return refresh(store, home, config, now=NOW)
    finally:
        store.close()


def moved(release):
    return release.manifest["drift"]["vectors"]["spectral"]


@pytest.mark.parametrize("seed", [0, 1, 77])
def test_a_refresh_of_the_same_data_keeps_the_neighbours(home, seed):
    release = refreshed(home, replace(CONFIG, seed=seed))
    assert moved(release)["jaccard@10"] >= 0.9
    assert moved(release)["cosine"] >= 0.99
    assert release.manifest["drift"]["items"]["new"] == 0


def test_one_percent_of_new_events_moves_few_neighbours(planted, tmp_path):
    home = Home(tmp_path / "home").create()
    store = EmbeddedStore(home.store)
    *first, last = planted.batches()
    events = last["events"]
    most = events.num_rows - 30
    for batch in [*first, last | {"events": events.slice(0, most)}]:
        store.apply(batch)
    refresh(store, home, CONFIG, now=NOW)
    store.apply({"events": events.slice(most)})
    release = refresh(store, home, replace(CONFIG, seed=5), now=NOW)
    store.close()
    assert moved(release)["jaccard@10"] >= 0.8


def test_without_the_last_release_axes_are_any(planted_home, home):
    """The figures above can be low: vectors found afresh point anywhere, and are turned back."""
    parent = parent_of(home)
    store = EmbeddedStore(home.store)
    snapshot = take_snapshot(store)
    store.close()
    config = replace(CONFIG, seed=3)
    graph = weigh(snapshot, config.weighting, NOW)
    alone = build(snapshot, graph, config, lambda _: None)
    old = parent.vectors["spectral"]
    assert np.abs(alone.vectors["spectral"] - old).max() > 0.5 * np.abs(old).max()
    near = turned(alone, parent, snapshot.items)
    assert np.abs(near.vectors["spectral"] - old).mean() < 0.1 * np.abs(old).mean()
    products = [
        vectors @ vectors.T
        for vectors in (release.vectors["spectral"] for release in (alone, near))
    ]
    np.testing.assert_allclose(*products, atol=1e-4)


def test_the_same_seed_and_last_release_give_the_same_bytes(planted_home, tmp_path):
    made = []
    for name in ("one", "other"):
        shutil.copytree(planted_home.folder, tmp_path / name)
        made.append(refreshed(Home(tmp_path / name)))
    sums = [
        {name: facts["sha256"] for name, facts in release.manifest["files"].items()}
        for release in made
    ]
    assert sums[0] == sums[1]
    assert made[0].name == made[1].name


def test_the_manifest_and_the_name_say_which_release_was_the_last(home):
    first = parent_of(home)
    second, third = refreshed(home), refreshed(home)
    assert first.manifest.get("parent") is None
    assert second.manifest["parent"]["name"] == first.name
    assert third.manifest["parent"]["fingerprint"] == second.manifest["fingerprint"]
    prints = {release.manifest["fingerprint"] for release in (first, second, third)}
    assert len(prints) == 3


def test_a_damaged_last_release_is_no_start(home):
    parent = parent_of(home)
    path = parent.folder / "vectors.spectral.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert parent_of(home) is None
    release = refreshed(home)
    assert "parent" not in release.manifest
    store = EmbeddedStore(home.store)
    assert release.manifest["fingerprint"] == fingerprint(take_snapshot(store), CONFIG)
    store.close()


def test_what_is_chosen_never_sees_the_last_release(home):
    """The last release has learned from the part that choices are made on."""
    store = EmbeddedStore(home.store)
    snapshot = take_snapshot(store)
    store.close()
    graph = weigh(snapshot, CONFIG.weighting, NOW)
    strange = np.random.default_rng(0).normal(size=(len(snapshot.items), 64)).astype(np.float32)
    plain = build(snapshot, graph, CONFIG, lambda _: None)
    led = build(snapshot, graph, CONFIG, lambda _: None, start=strange)
    assert plain.manifest == led.manifest
    assert not np.array_equal(plain.vectors["spectral"], led.vectors["spectral"])


def test_new_and_gone_items_are_counted_and_left_out():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 4)).astype(np.float32)
    old = Vocabulary.of(f"i{n:02}" for n in range(60))
    new = Vocabulary.of(f"i{n:02}" for n in range(5, 65))
    result = drift_of(
        {"a": np.vstack([vectors[5:], vectors[:5]]), "wider": np.zeros((60, 9), np.float32)},
        new,
        {"a": vectors, "wider": vectors, "left": vectors},
        old,
    )
    assert result["items"] == {"common": 55, "new": 5, "gone": 5}
    assert result["vectors"] == {"a": {"jaccard@10": 1.0, "cosine": 1.0, "sample": 55}}


def test_vectors_searched_by_others_are_turned_with_them(home):
    parent = parent_of(home)
    rng = np.random.default_rng(0)
    old = parent.vectors["spectral"]
    turn = np.linalg.qr(rng.normal(size=(old.shape[1],) * 2))[0].astype(np.float32)
    queries = rng.normal(size=old.shape).astype(np.float32)
    built = Built(
        {"queries.spectral": queries @ turn}, {"spectral": old @ turn}, {}, Recipe(()), {}
    )
    back = turned(built, parent, parent.items)
    np.testing.assert_allclose(back.vectors["spectral"], old, atol=1e-4)
    np.testing.assert_allclose(back.arrays["queries.spectral"], queries, atol=1e-3)


def test_a_start_brings_the_search_nearer_to_the_truth():
    graph = gf.normalise(niches(groups=12)[0].user_items)
    exact = spectrum(graph, 30, 0, passes=60)
    cold = spectrum(graph, 30, 1, passes=1)
    warm = spectrum(graph, 30, 1, passes=1, start=exact.item_vectors @ np.diag(exact.values))
    lost = [np.abs(spectral.values - exact.values).max() for spectral in (cold, warm)]
    assert lost[1] < 0.1 * lost[0]


def test_ties_are_no_changes():
    """Equal items in another order of rounding keep their neighbours."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(8, 5))
    old = np.repeat(kinds, 30, axis=0).astype(np.float32)
    new = (old + rng.normal(size=old.shape) * 1e-6).astype(np.float32)
    assert neighbour_overlap(new, old).mean() == 1
    other = np.repeat(rng.normal(size=(60, 5)), 4, axis=0).astype(np.float32)
    assert neighbour_overlap(other, old, rows=np.arange(0, 240, 7)).mean() < 0.3


def test_new_items_start_from_nothing(home):
    parent = parent_of(home)
    ids = [*list(parent.items)[:3], "never seen"]
    items = Vocabulary.of(ids)
    start = start_of(parent, items)
    row = items.row("never seen")
    assert (start[row] == 0).all()
    known = parent.vectors["spectral"][parent.items.rows(items.id(n) for n in range(4) if n != row)]
    np.testing.assert_array_equal(np.delete(start, row, axis=0), known)
    assert start_of(None, items) is None


def test_compare_shows_what_changed(home, capfd):
    refreshed(home)
    capfd.readouterr()
    assert run(["--home", str(home.folder), "releases", "compare", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["drift"]["users"]["common"] == result["counts"]["users"][0]
    assert result["drift"]["vectors"]["spectral"]["jaccard@10"] >= 0.9
    assert run(["--home", str(home.folder), "releases", "compare", "1", "2"]) == 0
    assert "ten nearest overlap by" in capfd.readouterr().out
    assert run(["--home", str(home.folder), "releases", "compare", "1"]) == 1
    assert "no release before" in capfd.readouterr().err
