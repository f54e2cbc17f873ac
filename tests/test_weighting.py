"""Edge weights by hand: kind × domain × tag category × tag rarity × age."""

import math
from dataclasses import fields

import numpy as np
import pytest

from graph.errors import SettingError
from graph.model import table, tag_key, tag_parts
from graph.snapshot import drop_pairs, take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import SECONDS_A_DAY, Weighting, speaking, weigh, weigh_tags
from graph.weighting_file import load_weighting
from tests.store_contract import batch_of_everything, events

NOW = 1_700_000_000


@pytest.fixture
def frozen(tmp_path):
    """Batches -> a snapshot of a new store that holds them."""
    made = []

    def frozen(*batches):
        store = EmbeddedStore(tmp_path / f"{len(made)}.sqlite")
        made.append(store)
        for batch in batches:
            store.apply(batch)
        return take_snapshot(store)

    yield frozen
    for store in made:
        store.close()


def pair_weights(snapshot, now=NOW, **rule):
    """{(user, item): weight}."""
    graph = weigh(snapshot, Weighting(**rule), now)
    return in_words(graph.user_items, snapshot.users, snapshot.items)


def in_words(matrix, rows, columns):
    coo = matrix.tocoo()
    return {
        (rows.id(int(row)), columns.id(int(column))): pytest.approx(float(weight), rel=1e-5)
        for row, column, weight in zip(*coo.coords, coo.data, strict=True)
    }


def edge(*worths):
    """The weight of a pair whose events have these weights."""
    return math.log2(1 + sum(worths))


def event_of(**event):
    return {"user": "ann", "item": "x"} | event


def test_a_first_event_counts_one_and_kinds_by_their_weights(frozen):
    snapshot = frozen(
        events(
            event_of(kind="like"),
            event_of(item="y", kind="view"),
            event_of(item="z", kind="view"),
            event_of(item="z", kind="save"),
            event_of(item="w", kind="noise"),
        )
    )
    rule = {"kinds": {"view": 0.5, "save": 2.0, "noise": 0.0}}
    assert pair_weights(snapshot, **rule) == {
        ("ann", "x"): 1.0,
        ("ann", "y"): edge(0.5),
        ("ann", "z"): edge(0.5, 2.0),
    }
    seen = weigh(snapshot, Weighting(**rule), NOW).user_seen
    assert seen.sum() == 4  # what counts nothing was seen all the same


def test_a_view_is_worth_half_by_default(frozen):
    assert pair_weights(frozen(events(event_of(kind="view")))) == {("ann", "x"): edge(0.5)}


def test_a_hide_takes_the_edge_away_whatever_its_weight(frozen):
    snapshot = frozen(
        events(
            event_of(), event_of(kind="hide"), event_of(item="y"), event_of(item="z", kind="hide")
        )
    )
    graph = weigh(snapshot, Weighting(kinds={"hide": 9.0}), NOW)
    assert in_words(graph.user_items, snapshot.users, snapshot.items) == {("ann", "y"): 1.0}
    assert in_words(graph.user_hides, snapshot.users, snapshot.items) == {
        ("ann", "x"): 1.0,
        ("ann", "z"): 1.0,
    }
    assert in_words(graph.user_seen, snapshot.users, snapshot.items) == {
        ("ann", "x"): 1.0,
        ("ann", "y"): 1.0,
    }


def test_age_halves_what_has_a_time(frozen):
    snapshot = frozen(
        events(
            event_of(item="new", at=NOW),
            event_of(item="old", at=NOW - 10 * SECONDS_A_DAY),
            event_of(item="older", at=NOW - 20 * SECONDS_A_DAY),
            event_of(item="future", at=NOW + 10 * SECONDS_A_DAY),
            event_of(item="undated"),
        )
    )
    assert pair_weights(snapshot, half_life_days=10.0) == {
        ("ann", "new"): 1.0,
        ("ann", "old"): edge(0.5),
        ("ann", "older"): edge(0.25),
        ("ann", "future"): 1.0,
        ("ann", "undated"): 1.0,
    }
    assert pair_weights(snapshot) == dict.fromkeys(pair_weights(snapshot), 1.0)


def test_who_does_not_consent_leaves_no_trace(frozen):
    snapshot = frozen(
        events(
            event_of(),
            event_of(item="y", kind="hide"),
            event_of(kind="tag", tag="hers"),
            ("bob", "x"),
        )
        | {
            "users": table("users", [{"id": "ann", "consent": False}]),
            "user_relations": table(
                "user_relations",
                [
                    {"source": "ann", "target": "bob", "kind": "friend"},
                    {"source": "bob", "target": "ann", "kind": "friend"},
                    {"source": "bob", "target": "cem", "kind": "friend"},
                ],
            ),
        }
    )
    graph = weigh(snapshot, Weighting(tag_fewest_items=1), NOW)
    ann = snapshot.users.row("ann")
    for matrix in (graph.user_items, graph.user_seen, graph.user_hides, graph.user_users):
        assert matrix[[ann]].nnz == 0
    assert graph.item_tags.nnz == 0
    assert in_words(graph.user_users, snapshot.users, snapshot.users) == {("bob", "cem"): 1.0}


def tagged(*rows):
    return {
        "item_tags": table(
            "item_tags",
            [dict(zip(("item", "category", "tag"), row, strict=True)) for row in rows],
        )
    }


def tag_weights(snapshot, **rule):
    return in_words(
        weigh(snapshot, Weighting(**rule), NOW).item_tags, snapshot.items, snapshot.tags
    )


def rarity(count, exponent=0.5):
    return (1 / math.log2(1 + count)) ** (2 * exponent)


def test_rare_tags_weigh_more_and_categories_by_their_weights(frozen):
    often = [(f"i{k}", "tag", "often") for k in range(4)]
    rare = [(f"i{k}", "genre", "rare") for k in range(2)]
    result = tag_weights(frozen(tagged(*often, *rare)), categories={"genre": 3.0})
    assert result["i0", tag_key("tag", "often")] == rarity(4)
    assert result["i0", tag_key("genre", "rare")] == 3 * rarity(2)
    flat = tag_weights(frozen(tagged(*often, *rare)), tag_rarity=0.0)
    assert flat == dict.fromkeys(flat, 1.0)


def test_a_given_tags_own_weight_counts(frozen):
    rows = [
        {"item": item, "category": "tag", "tag": "t", "weight": weight}
        for item, weight in (("x", 0.25), ("y", 4.0))
    ]
    result = tag_weights(frozen({"item_tags": table("item_tags", rows)}))
    assert list(result.values()) == [0.25 * rarity(2), 4 * rarity(2)]


def test_tags_on_too_few_or_too_many_items_say_nothing(frozen):
    rows = [(f"i{k}", "tag", f"on {n}") for n in (1, 2, 3, 4) for k in range(n)]
    result = tag_weights(frozen(tagged(*rows)), tag_fewest_items=2, tag_most_items=3)
    assert {tag for _, tag in result} == {tag_key("tag", "on 2"), tag_key("tag", "on 3")}


def test_tags_of_events_count_by_who_gave_them(frozen):
    """x has four taggers, three of whom say "a" (one of them twice), one says "b"."""
    rows = [("ann", "a"), ("bob", "a"), ("cem", "a"), ("dan", "b")]
    snapshot = frozen(
        events(*({"user": u, "item": "x", "kind": "tag", "tag": t, "at": 1} for u, t in rows)),
        events({"user": "ann", "item": "x", "kind": "tag", "tag": "a", "at": 2}),
        tagged(("x", "tag", "b")),  # the given one and that of events add up
    )
    result = tag_weights(snapshot, tag_fewest_items=1, tag_rarity=0.0)
    assert result == {("x", tag_key("tag", "a")): 3 / 2, ("x", tag_key("tag", "b")): 1 + 1 / 2}


def test_a_dropped_pair_takes_its_share_of_the_tags_with_it(frozen):
    rows = [("ann", "x"), ("bob", "x"), ("ann", "y")]
    snapshot = frozen(events(*rows, kind="tag", tag="t"))
    rest = drop_pairs(snapshot, [snapshot.users.row("ann")], [snapshot.items.row("y")])
    result = tag_weights(rest, tag_fewest_items=1, tag_rarity=0.0)
    assert result == {("x", tag_key("tag", "t")): 2 / math.sqrt(2)}


def test_an_items_edges_are_weighed_by_the_mean_of_its_domains(frozen):
    snapshot = frozen(
        events(("ann", "in one"), ("ann", "in both"), ("ann", "in none"))
        | {
            "item_domains": table(
                "item_domains",
                [
                    {"item": "in one", "domain": "jazz", "weight": 0.5},
                    {"item": "in both", "domain": "jazz", "weight": 3.0},
                    {"item": "in both", "domain": "folk", "weight": 1.0},
                ],
            )
        }
    )
    assert pair_weights(snapshot, domains={"jazz": 2.0}) == {
        ("ann", "in one"): 2.0,
        ("ann", "in both"): 1.75,
        ("ann", "in none"): 1.0,
    }
    assert pair_weights(snapshot, domains={"jazz": 0.0}).keys() == {
        ("ann", "in both"),
        ("ann", "in none"),
    }
    with pytest.raises(SettingError, match=r"domains\.jaz is no domain.*did you mean 'jazz'"):
        pair_weights(snapshot, domains={"jaz": 2.0})


def test_relations_between_items_count_where_the_rule_names_them(frozen):
    snapshot = frozen(
        {
            "item_relations": table(
                "item_relations",
                [
                    {"source": "x", "target": "y", "kind": "cites", "weight": 2.0},
                    {"source": "x", "target": "y", "kind": "quotes", "weight": 1.0},
                    {"source": "y", "target": "y", "kind": "cites", "weight": 5.0},
                ],
            )
        }
    )
    assert weigh(snapshot, Weighting(), NOW).item_items.nnz == 0
    graph = weigh(snapshot, Weighting(relations={"cites": 0.5, "quotes": 0.25}), NOW)
    assert in_words(graph.item_items, snapshot.items, snapshot.items) == {("x", "y"): 1.25}


def test_who_has_too_few_pairs_is_not_learned_from_but_seen(frozen):
    snapshot = frozen(events(("ann", "x"), ("ann", "y"), ("bob", "x"), ("cem", "z")))
    assert pair_weights(snapshot, user_events=2).keys() == {("ann", "x"), ("ann", "y")}
    assert pair_weights(snapshot, item_events=2).keys() == {("ann", "x"), ("bob", "x")}
    assert weigh(snapshot, Weighting(user_events=9), NOW).user_seen.sum() == 4


def test_an_empty_graph_weighs_nothing(frozen):
    graph = weigh(frozen(), Weighting(half_life_days=1.0), NOW)
    assert graph.user_items.shape == (0, 0)
    assert graph.domains_from == "nothing"


def test_matrices_are_sorted_float32_with_positive_weights_and_the_same_every_time(frozen):
    snapshot = frozen(
        batch_of_everything(),
        events(*((f"u{k % 7}", f"i{k % 5}") for k in range(35)), kind="tag", tag="t"),
    )
    rule = Weighting(relations={"cites": 1.0}, tag_fewest_items=1)
    graph, again = weigh(snapshot, rule, NOW), weigh(snapshot, rule, NOW)
    for field in fields(graph)[:7]:
        matrix, twin = getattr(graph, field.name), getattr(again, field.name)
        assert matrix.nnz > 0 or field.name in ("user_hides", "user_users"), field.name
        assert matrix.dtype == np.float32
        assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
        assert matrix.has_canonical_format
        assert (matrix.data > 0).all()
        assert matrix.data.tobytes() == twin.data.tobytes()
        assert matrix.indices.tobytes() == twin.indices.tobytes()


def test_the_last_word_on_a_pair_counts(frozen):
    def stars(item, value, at):
        return event_of(item=item, kind="rating", value=value, at=at)

    snapshot = frozen(
        events(
            *(stars("x", 5.0, 100), stars("x", 1.0, 200)),
            *(stars("y", 1.0, 100), stars("y", 5.0, 200)),
            *(stars("z", 5.0, None), stars("z", 2.0, 50)),
        )
    )
    assert pair_weights(snapshot) == {("ann", "y"): 1.0}


@pytest.mark.parametrize("kind", ["dislike", "unlike", "downvote", "Dislike"])
def test_what_speaks_against_an_item_takes_back_what_came_before(frozen, kind):
    snapshot = frozen(
        events(
            *(event_of(item="x", at=100), event_of(item="x", kind=kind, at=200)),
            *(event_of(item="y", kind=kind, at=100), event_of(item="y", at=200)),
            *(event_of(item="z"), event_of(item="z", kind=kind)),
        )
    )
    assert pair_weights(snapshot, kinds={kind.lower(): 3.0}) == {("ann", "y"): 1.0}
    assert weigh(snapshot, Weighting(), NOW).user_seen.sum() == 3
    assert len(pair_weights(snapshot, against_kinds=())) == 3


def test_kinds_compare_without_case(frozen, tmp_path):
    file = tmp_path / "weighting.toml"
    file.write_text('[kinds]\nPlay = 0.25\n[ratings]\nkinds = ["Stars"]\nscale = [0, 10]\n')
    weighting = load_weighting(file)
    snapshot = frozen(
        events(
            event_of(kind="PLAY"),
            event_of(item="y", kind="Hide"),
            event_of(item="z", kind="stars", value=2.0),
        )
    )
    graph = weigh(snapshot, weighting, NOW)
    assert in_words(graph.user_items, snapshot.users, snapshot.items) == {("ann", "x"): edge(0.25)}
    assert graph.user_hides.sum() == 1


def test_which_kinds_speak_for_an_item_and_from_which_value_on(frozen):
    """Of a scale of 1 … 5 a rating counts from 4 on; kinds of no weight, and hides, never speak."""
    snapshot = frozen(
        events(
            *(
                event_of(item="x", kind="rating", value=v, at=i)
                for i, v in enumerate([1, 5, 2, 3, 4])
            ),
            *(event_of(item="y", kind=kind) for kind in ("like", "hide", "dislike", "worthless")),
        )
    )
    rule = Weighting(kinds={"worthless": 0.0}, rating_scale=(1.0, 5.0), relevant_from=0.75)
    assert speaking(snapshot, rule) == {"like": None, "rating": pytest.approx(4, abs=1e-5)}
    result = speaking(snapshot, Weighting(kinds={"worthless": 0.0}, relevant_from=0.75))
    assert result == {"like": None, "rating": pytest.approx(4, abs=1e-5)}
    given_by = Weighting(kinds={"worthless": 0.0}, relevant_from=0.5, rating_scale=(0.0, 10.0))
    assert speaking(snapshot, given_by)["rating"] == pytest.approx(5, abs=1e-5)
    assert speaking(frozen(events(event_of(kind="rating"))), Weighting()) == {"rating": None}


def test_a_tag_that_one_user_gave_counts_one(frozen):
    """And what two gave of whom one gave another, too: 2 / √2 and 1 / √2."""
    tag = {"kind": "tag"}
    snapshot = frozen(
        events(
            event_of(**tag, tag="quiet"),
            *({"user": user, "item": "y", **tag, "tag": "loud"} for user in ("ann", "bob")),
            {"user": "bob", "item": "y", **tag, "tag": "fast"},
        )
    )
    weights = weigh_tags(snapshot, Weighting(tag_fewest_items=1, tag_rarity=0.0)).toarray()
    result = {
        (snapshot.items.id(item), tag_parts(snapshot.tags.id(row))[1]): weights[item, row]
        for item, row in zip(*np.nonzero(weights), strict=True)
    }
    root = math.sqrt(2)
    expected = {("x", "quiet"): 1.0, ("y", "loud"): 2 / root, ("y", "fast"): 1 / root}
    assert result == {pair: pytest.approx(weight, rel=1e-5) for pair, weight in expected.items()}
