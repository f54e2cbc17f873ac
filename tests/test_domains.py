"""Domains: given by the data, else genres, else communities of tags, else nothing."""

import random

import pytest

from graph.domains import derive_domains
from graph.model import table
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from tests.store_contract import events

NICHES = ("baroque", "noir", "sourdough")


@pytest.fixture
def derived(tmp_path):
    """Batches -> ({item: {domain: weight}}, names of the domains, where they come from)."""

    def derived(*batches, seed=0):
        store = EmbeddedStore(tmp_path / "graph.sqlite")
        for batch in batches:
            store.apply(batch)
        snapshot = take_snapshot(store)
        store.close()
        links, domains, origin = derive_domains(snapshot, seed)
        result = {}
        for item, domain, weight in zip(links.source, links.target, links.weight, strict=True):
            result.setdefault(snapshot.items.id(item), {})[domains.id(domain)] = float(weight)
        return result, list(domains), origin

    return derived


def tagged(*rows):
    names = ("item", "category", "tag")
    return {"item_tags": table("item_tags", [dict(zip(names, row, strict=True)) for row in rows])}


def planted(stray=0.05):
    """90 items of three niches with 6 tags each; every item wears 3 or 4 of its own.

    The first two tags of a niche are the most used, so that they name it.
    """
    draw = random.Random(4)
    rows = []
    for k in range(90):
        niche = NICHES[k % 3]
        own = {f"{niche} 0"} | ({f"{niche} 1"} if k % 4 else set())
        own |= {f"{niche} {n}" for n in draw.sample(range(2, 6), 2)}
        if draw.random() < stray:
            own.add(f"{draw.choice(NICHES)} 5")
        rows += [(f"{niche}/{k}", "tag", tag) for tag in own]
    return rows


def test_what_the_data_gives_stands(derived):
    given = {
        "item_domains": table("item_domains", [{"item": "x", "domain": "jazz", "weight": 3.0}])
    }
    genres = tagged(("x", "genre", "rock"))
    assert derived(given, genres) == ({"x": {"jazz": 3.0}}, ["jazz"], "given")


def test_else_genres_share_an_item_evenly(derived):
    rows = [("x", "genre", "noir"), ("y", "genre", "noir"), ("y", "genre", "jazz")]
    result, domains, origin = derived(tagged(*rows, ("z", "tag", "noir")))
    assert result == {"x": {"noir": 1.0}, "y": {"jazz": 0.5, "noir": 0.5}}
    assert (domains, origin) == (["jazz", "noir"], "genres")


def test_else_communities_of_tags_are_found_and_named_by_their_most_used_tags(derived):
    result, domains, origin = derived(tagged(*planted()))
    assert origin == "tag communities"
    assert domains == [f"{niche} 0 · {niche} 1" for niche in NICHES]
    assert len(result) == 90
    for item, shares in result.items():
        assert sum(shares.values()) == pytest.approx(1)
        assert max(shares, key=shares.get).startswith(item.split("/")[0])


def test_communities_are_found_from_tags_of_events_too(derived):
    rows = [{"user": "ann", "item": item, "kind": "tag", "tag": tag} for item, _, tag in planted()]
    result, domains, origin = derived(events(*rows))
    assert (len(result), len(domains), origin) == (90, 3, "tag communities")


def test_who_does_not_consent_shapes_no_domain(derived):
    rows = [{"user": "ann", "item": item, "kind": "tag", "tag": tag} for item, _, tag in planted()]
    refused = {"users": table("users", [{"id": "ann", "consent": False}])}
    assert derived(events(*rows), refused) == ({}, [], "nothing")


def test_the_same_seed_gives_the_same_domains(derived):
    assert derived(tagged(*planted(stray=0.5)), seed=3) == derived(seed=3)


@pytest.mark.parametrize(
    "batches",
    [
        [],
        [events(("ann", "x"))],
        [tagged(("x", "tag", "a"), ("y", "tag", "b"))],
        [tagged(*((f"i{k}", "tag", f"only on {k % 9}") for k in range(90)))],
    ],
    ids=["empty", "no tags", "too few tags", "tags that never meet"],
)
def test_without_anything_to_go_by_there_are_none(derived, batches):
    assert derived(*batches) == ({}, [], "nothing")
