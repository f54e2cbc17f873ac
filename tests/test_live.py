"""What is said counts at once: release and journal answer as a release that had heard it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse import csr_array

from embeddings.item_item.recency import order_of, weighed
from graph.model import table
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from loaders.synthetic import generate
from recommender.inbox.drain import drain
from recommender.inbox.facts import CONSENT, DELETE, PATCH, PUT, fact
from recommender.inbox.journal import Journal
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.learning.split import relevant_pairs
from recommender.overlay.state import State
from recommender.ranking.request import Filter, Request
from recommender.releases.graph_arrays import _events
from recommender.releases.home import Home
from recommender.releases.publishing import activate
from recommender.releases.rows import list_rows, matrix_rows
from recommender.serving.following import Follower
from recommender.serving.live import Live
from recommender.serving.recommend import Recommender

NOW = 1_760_000_000
FAST = RefreshConfig(preset="fast", threads=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """2,000 dated events of planted niches, and a home with a release that has heard them."""
    planted = generate(2000, seed=4)
    home = Home(tmp_path_factory.mktemp("live") / "home").create()
    store = EmbeddedStore(home.store)
    for batch in planted.batches():
        store.apply(batch)
    dated = [
        {"id": planted.answers.items[n], "attributes": f'{{"year": {1700 + n}}}'} for n in (0, 1)
    ]
    store.apply({"items": table("items", dated)})
    refresh(store, home, FAST, now=NOW)
    store.close()
    return home, planted


@pytest.fixture(scope="module")
def named(world):
    """The release of that home, with `named_events` in its histories."""
    home, _ = world
    return release_that_heard(Live(home).recommender().release, home, [])


def named_events():
    """Of each of four users: three tags for an item in one second, and three plays without a time.

    Only their tags and ids tell them apart.
    """
    answers = generate(2000, seed=4).answers
    return [
        {"user": user, "item": answers.items[number], **more}
        for number, user in enumerate(answers.users[:4])
        for more in (
            *({"kind": "tag", "tag": f"{number} {word}", "at": NOW - 5_000} for word in "abc"),
            *({"kind": "play", "event_id": f"{user} {played}"} for played in range(3)),
        )
    ]


@pytest.fixture
def live(world, tmp_path):
    """A server that follows a journal of its own over the shared release."""
    home, _ = world
    journal = Journal(tmp_path / "journal.sqlite")
    ticks = iter(range(10**7))
    yield Live(home, journal=journal, clock=lambda: next(ticks)), journal
    journal.close()


def by_history(server):
    """What serves a history; in so small a world a simple recommender may do best alone."""
    return server.recommender().release.manifest.get("ranks_by", "history")


def say(journal, *facts):
    return journal.append([fact(kind, payload) for kind, payload in facts], now=NOW)


def event(user, item, kind="view", **more):
    return "events", {"user": user, "item": item, "kind": kind, **more}


def listed(serving, n=20, **fields):
    answer = serving.recommend([Request(n=n, **fields)], now=NOW)[0]
    return [(item.item, item.score) for item in answer.items]


def ids(serving, n=20, **fields):
    return [item for item, _ in listed(serving, n=n, **fields)]


# ── the same as a release that had heard it ──────────────────────────────────────────────


def release_that_heard(base, home, content):
    """The release with histories made anew from its store and further events; the same table."""
    store = EmbeddedStore(home.folder / "heard.sqlite")
    try:
        for batch in generate(2000, seed=4).batches():
            store.apply(batch)
        store.apply({"events": table("events", named_events())})
        known = [e if e.get("at") or not e["event_id"] else e | {"at": NOW} for e in content]
        store.apply({"events": table("events", known)})
        snapshot = take_snapshot(store)
    finally:
        store.close()
        (home.folder / "heard.sqlite").unlink()
    assert list(snapshot.items) == list(base.items)
    graph = weigh(snapshot, FAST.weighting, NOW)
    user_items = sparse.csr_matrix(graph.user_items)
    user_items.sort_indices()
    pairs = relevant_pairs(snapshot, graph.user_items, 0)
    exponent = base.manifest["recipe"]["recency_exponent"]
    histories = weighed(user_items, order_of(user_items, pairs.at), exponent)
    arrays = {
        **base.arrays,
        **{f"users.{k}": v for k, v in snapshot.users.arrays().items()},
        **matrix_rows("histories", csr_array(histories)),
        **list_rows("blocked", csr_array(graph.user_seen + graph.user_hides)),
        **list_rows("hides", graph.user_hides),
        **_events(snapshot),
        "histories.kinds": np.zeros(histories.nnz, np.int32),
        "histories.at": pairs.at,
    }
    manifest = base.manifest | {"event_kinds": list(snapshot.kinds), "segments": None}
    return replace(base, arrays=arrays, manifest=manifest)


def said_events(planted):
    users = st.sampled_from([*planted.answers.users[:4], "newcomer", "another"])
    items = st.sampled_from(list(planted.answers.items[:60]))
    kinds = st.sampled_from(["view", "like", "hide", "play", "tag"])
    values = st.sampled_from([None, None, 1.0, 7.0])
    times = (
        st.none()
        | st.sampled_from([NOW - 5_000, NOW - 10_000_000])
        | st.integers(NOW - 10_000_000, NOW + 1000)
    )
    tags = st.sampled_from([None, None, "0 a", "blue", "Blue"])
    numbers = st.none() | st.integers(0, 4)  # the first three are in the release
    return st.lists(
        st.builds(
            lambda u, i, k, v, t, tag, n: {
                "user": u, "item": i, "kind": k, "value": v, "at": t, "tag": tag,
                "event_id": None if n is None else f"{u} {n}",
            },
            users, items, kinds, values, times, tags, numbers,
        ),
        min_size=1,
        max_size=12,
    )  # fmt: skip


@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_release_and_journal_rank_as_a_release_that_holds_the_same_events(
    world, named, tmp_path_factory, data
):
    home, planted = world
    content = data.draw(said_events(planted))
    journal = Journal(tmp_path_factory.mktemp("journal") / "journal.sqlite")
    say(journal, *[("events", e) for e in content])
    overlay = Follower.over(named, journal).overlay(State(), None)
    journal.close()
    serving = Recommender(overlay.release, overlay)
    other = Recommender(release_that_heard(named, home, content))
    for user in {e["user"] for e in content}:
        for arguments in ({}, {"include_seen": True}):
            mine = listed(serving, user=user, profile="neutral", reasons=False, **arguments)
            theirs = listed(other, user=user, profile="neutral", reasons=False, **arguments)
            assert [i for i, _ in mine] == [i for i, _ in theirs], (user, arguments)
            np.testing.assert_allclose([s for _, s in mine], [s for _, s in theirs], rtol=1e-4)


# ── users ────────────────────────────────────────────────────────────────────────────────


def test_a_click_moves_the_next_list_and_is_no_longer_unseen(live, world):
    server, journal = live
    users, named = world[1].answers.users[:40], 0
    for user in users:
        before = ids(server.recommender(), user=user)
        say(journal, event(user, before[0], "like", at=NOW))
        after = ids(server.recommender(), user=user)
        assert before[0] not in after
        assert after != before[1:]
        answer = server.recommender().recommend([Request(user=user, n=20)], now=NOW)[0]
        release = server.recommender().release
        title = release.card(release.items.row(before[0]))["title"]
        named += any(title in reason.text for item in answer.items for reason in item.reasons)
    assert named >= len(users) / 2


def test_a_hide_holds_at_once_also_against_who_asks_for_what_was_seen(live, world):
    server, journal = live
    user = world[1].answers.users[0]
    item = ids(server.recommender(), user=user)[0]
    say(journal, event(user, item, "hide"))
    assert item not in ids(server.recommender(), user=user, n=500, include_seen=True)


def test_who_chose_many_new_items_has_a_segment_and_a_list(live, world):
    """A segment is learned from vectors, which items that came since do not have."""
    server, journal = live
    known = world[1].answers.items[:6]
    say(journal, *[event("keen", item) for item in (*known, *(f"new {n}" for n in range(12)))])
    mine = server.recommender().recommend([Request(user="keen", n=10)], now=NOW)[0]
    assert mine.served_by != "popular" and len(mine.items) == 10
    assert mine.segment not in (None, "new")


def test_a_newcomer_gets_lists_of_their_own_with_the_first_click(live, world):
    server, journal = live
    item = world[1].answers.items[0]
    request = Request(user="just came", n=10)
    assert server.recommender().recommend([request], now=NOW)[0].served_by == "popular"
    say(journal, event("just came", item))
    answer = server.recommender().recommend([request], now=NOW)[0]
    assert answer.served_by == by_history(server)
    assert not answer.notes
    assert ids(server.recommender(), user="just came", n=10) == ids(
        server.recommender(), items={item: 1.0}, n=10, profile=answer.profile
    )


def test_who_does_not_agree_to_lists_of_their_own_gets_none_and_hides_hold(live, world):
    server, journal = live
    user = world[1].answers.users[1]
    popular = ids(server.recommender(), profile="neutral")
    say(
        journal,
        event(user, popular[0], "hide"),
        (CONSENT, {"id": user, "consent": {"personalise": False}}),
    )
    serving = server.recommender()
    answer = serving.recommend([Request(user=user, profile="neutral")], now=NOW)[0]
    assert answer.served_by == "popular"
    assert "does not agree" in answer.notes[0]
    assert ids(serving, user=user, profile="neutral")[:5] == popular[1:6]
    say(journal, (CONSENT, {"id": user, "consent": {"personalise": True}}))
    answer = server.recommender().recommend([Request(user=user)], now=NOW)[0]
    assert answer.served_by == by_history(server)


# ── items ────────────────────────────────────────────────────────────────────────────────


def new_item(planted, niche=0, **more):
    tag = planted.answers.niches[niche]
    return {"id": "brand new", "title": "Brand New", "tags": [{"tag": tag}], **more}


def test_a_new_item_is_found_at_once_by_everything_it_carries(live, world):
    server, journal = live
    planted = world[1]
    say(journal, (PUT, new_item(planted, created_at=NOW - 5, attributes={"price": 3},
                                domains=[{"domain": "somewhere new"}])))  # fmt: skip
    serving = server.recommender()
    tag = planted.answers.niches[0]
    assert "brand new" in [i.item for i in serving.tag_items(tag, 1000, now=NOW).items]
    assert serving.latest(1, now=NOW).items[0].item == "brand new"
    answer = serving.recommend([Request(filter=Filter(domains=("somewhere new",)))], now=NOW)[0]
    assert [i.item for i in answer.items] == ["brand new"]
    assert answer.items[0].title == "Brand New"
    assert answer.items[0].tags == (tag,)
    assert answer.items[0].domains == ("somewhere new",)
    near = serving.similar("brand new", 10, now=NOW)
    assert near.served_by == "session"
    assert len(near.items) == 10


def test_a_new_item_is_found_by_ranges_of_its_attributes_and_is_similar_to_its_like(live, world):
    server, journal = live
    other = new_item(world[1], niche=1, attributes={"year": 1650}) | {"id": "of another niche"}
    say(journal, (PUT, new_item(world[1], attributes={"year": 1741})), (PUT, other))
    serving = server.recommender()

    def passing(low, high):
        wanted = Filter(attributes=(("year", low, high, ()),))
        return set(ids(serving, n=1000, filter=wanted, profile="neutral"))

    first, second = world[1].answers.items[:2]
    assert passing(1700, 1700) == {first}
    assert passing(1701, 1750) == {second, "brand new"}
    assert passing(1741, None) == {"brand new"}
    answers, nearer = world[1].answers, 0
    like = [item for item, own in zip(answers.items, answers.item_niches, strict=True) if own == 0]
    for item in like[:20]:
        near = [each.item for each in serving.similar(item, 1000, now=NOW).items]
        nearer += near.index("brand new") < near.index("of another niche")
    assert nearer >= 16


def test_an_item_without_a_time_of_its_own_is_found_by_all_but_the_latest(live, world):
    server, journal = live
    say(journal, (PUT, new_item(world[1])))
    serving = server.recommender()
    tag = world[1].answers.niches[0]
    assert "brand new" in [i.item for i in serving.tag_items(tag, 1000, now=NOW).items]
    assert "brand new" not in [i.item for i in serving.latest(1000, now=NOW).items]
    say(journal, (PATCH, {"id": "brand new", "created_at": NOW - 5}))
    assert server.recommender().latest(1, now=NOW).items[0].item == "brand new"


def test_first_exposures_of_new_items_go_to_their_niche(live, world):
    server, journal = live
    planted = world[1]
    answers = planted.answers
    count = len(answers.niches)
    say(journal, *[(PUT, {"id": f"new {n}", "title": "", "tags": [{"tag": answers.niches[n]}]})
                   for n in range(count)])  # fmt: skip
    serving = server.recommender()
    shown = right = 0
    for number, user in enumerate(answers.users[:150]):
        own = set(answers.user_niches[number].tolist())
        for item in ids(serving, user=user, n=60, profile="neutral"):
            if item.startswith("new "):
                shown += 1
                right += int(item.removeprefix("new ")) in own
    assert shown >= 30
    assert right / shown >= 0.8


def test_a_new_item_grows_with_its_first_clicks(live, world):
    server, journal = live
    planted = world[1]
    say(journal, (PUT, new_item(planted)))
    users = planted.answers.users[:80]

    def exposure(serving):
        """Sum of 1 / place over the lists of 80 users."""
        places = [ids(serving, user=user, n=100, profile="neutral") for user in users]
        return sum(1 / (1 + own.index("brand new")) for own in places if "brand new" in own)

    before = exposure(server.recommender())
    say(journal, *[event(f"fan {n}", "brand new") for n in range(12)])
    assert exposure(server.recommender()) > 1.2 * before > 0


def test_a_changed_hidden_or_deleted_item_is_so_at_once(live, world):
    server, journal = live
    item = ids(server.recommender())[0]
    say(journal, (PATCH, {"id": item, "title": "Another name", "tags": [{"tag": "unheard of"}]}))
    serving = server.recommender()
    assert serving.tag_items("unheard of", 5, now=NOW).items[0].title == "Another name"
    say(journal, (PATCH, {"id": item, "hidden": True}))
    assert item not in ids(server.recommender(), n=1000)
    say(journal, (PATCH, {"id": item, "hidden": False}))
    assert item in ids(server.recommender(), n=1000)
    say(journal, (DELETE, {"id": item}))
    assert item not in ids(server.recommender(), n=1000)


def test_items_that_nobody_described_can_be_clicked_and_shown(live):
    server, journal = live
    say(journal, event("a", "unknown thing"), event("a", "unknown thing", "like"))
    serving = server.recommender()
    answer = serving.recommend([Request(filter=Filter(items=("unknown thing",)))], now=NOW)[0]
    assert [i.item for i in answer.items] == ["unknown thing"]
    assert ids(serving, user="a", n=5)  # and histories with it are no trouble
    assert serving.recommend([Request(user="a", interests=True)], now=NOW)[0].items


# ── swaps ────────────────────────────────────────────────────────────────────────────────


def test_a_refresh_that_heard_takes_over_and_a_rollback_shows_no_older_state(tmp_path):
    planted = generate(600, seed=6)
    home = Home(tmp_path / "home").create()
    store = EmbeddedStore(home.store)
    for batch in planted.batches():
        store.apply(batch)
    refresh(store, home, FAST, now=NOW)
    journal = Journal(home.inbox)
    ticks = iter(range(10**6))
    server = Live(home, journal=journal, clock=lambda: next(ticks))
    user, hidden = planted.answers.users[0], ids(server.recommender())[0]
    clicked = ids(server.recommender(), user=user)[0]
    say(journal, event(user, clicked, "like", at=NOW), (PATCH, {"id": hidden, "hidden": True}))
    drain(journal, store, now=lambda: NOW)
    second = refresh(store, home, FAST, now=NOW)
    assert second.manifest["inbox"]["upto"] == 2
    serving = server.recommender()
    assert serving.release.name == second.name
    assert user not in serving.overlay.users  # the release has it
    assert clicked not in ids(serving, user=user, n=300)
    assert hidden not in ids(serving, n=300)
    activate(home, "1")
    serving = server.recommender()
    assert serving.release.name.startswith("000001")
    assert clicked not in ids(serving, user=user, n=300)
    assert hidden not in ids(serving, n=300)
    store.close()
    journal.close()


def test_who_holds_an_older_value_is_answered_by_it(live, world):
    server, journal = live
    user = world[1].answers.users[2]
    old = server.recommender()
    before = listed(old, user=user)
    say(journal, event(user, before[0][0], "like"), (PUT, new_item(world[1])))
    assert listed(server.recommender(), user=user) != before
    assert listed(old, user=user) == before


def test_a_journal_that_does_not_answer_is_told_and_the_last_word_holds(live, world, monkeypatch):
    from graph.errors import StoreAway

    server, journal = live
    user = world[1].answers.users[3]
    say(journal, event(user, ids(server.recommender(), user=user)[0]))
    before = listed(server.recommender(), user=user)

    def away():
        raise StoreAway("the disk is gone")

    monkeypatch.setattr(journal, "last_sequence", away)
    assert listed(server.recommender(), user=user) == before
    assert "the disk is gone" in server.journal_problem
