"""Answers as JSON say what answers as values say; what is said of items survives any text."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from recommender.overlay.appended import LiveItem, appended
from recommender.ranking.request import Filter, Part, Request, session
from recommender.releases.cards import make_card, read
from recommender.serving.evidence import evidence
from recommender.serving.recommend import Recommender

NOW = 1_760_000_000
NOBODY = np.zeros(0, np.int32)
HOSTILE = 'a "quoted" \\ title\n\t\x01 with 漢字, 🎼 and \u2028 </script>'


def requests_of(release):
    """Users, sessions, tags, mixes, households and strangers, under profiles and filters."""
    users = release.users.ids(range(0, len(release.users), max(1, len(release.users) // 25)))
    items = release.items.ids(range(0, len(release.items), max(1, len(release.items) // 5)))
    domain, tag = release.domains.id(0), release.tag_names.id(0)
    for user in users:
        yield from (
            Request(user=user),
            Request(user=user, profile="neutral", reasons=False),
            Request(user=user, n=7, diversity=0.6, freshness=0.2),
            Request(user=user, filter=Filter(domains=(domain,)), n=40),
            Request(user=user, filter=Filter(items=tuple(items)), include_seen=True),
            Request(user=user, items=session(items[:2]), seed=4),
            Request(user=user, only_seen=True),
            Request(user=user, interests=True),
        )
    yield from (
        Request(),
        Request(user="nobody knows me"),
        Request(tags=(tag,)),
        Request(household=tuple(users[:3])),
        Request(mix=(Part("user", users[0]), Part("tag", tag, 2.0), Part("item", items[0]))),
        Request(filter=Filter(domains=("there is none",))),
    )


def test_json_says_what_the_values_say_alone_and_among_others(recommender):
    requests = list(requests_of(recommender.release))
    values = [answer.to_json() for answer in recommender.recommend(requests, now=NOW)]
    together = recommender.recommend_json(requests, now=NOW)
    assert [json.loads(text) for text in together] == values
    alone = [recommender.recommend_json([request], now=NOW)[0] for request in requests]
    assert alone == together
    assert sum(len(value["items"]) for value in values) > 1000
    reasons = [r for value in values for item in value["items"] for r in item["reasons"]]
    assert len(reasons) > 1000


# ── what speaks for an item, beside dictionaries and sets ────────────────────────────────


def spoken_for(release, items, weights, item, user):
    """(row, share, through, tag or people) of the strongest three, without any array."""
    parts = []
    for at, near in enumerate(items.tolist()):
        row = dict(
            zip(release.table.neighbours[near].tolist(), release.table.scores[near], strict=True)
        )
        parts.append((float(row.get(item, 0.0)) * float(weights[at]), -at, near))
    total = sum(part for part, _, _ in parts if part > 0)
    for part, _, near in sorted(parts, reverse=True)[:3]:
        if part <= 0:
            return
        yield near, part / total, *how(release, near, item, user)


def how(release, near, item, user):
    if item in release.relations.of(near).tolist() or near in release.relations.of(item).tolist():
        return "relation", None
    tags = [dict(zip(release.item_tags.of(row).tolist(),
                     release.tags_given[release.item_tags.span(row)].tolist(), strict=True))
            for row in (near, item)]  # fmt: skip
    both = set(tags[0]) & set(tags[1])
    if both:

        def rank(tag):
            return not (tags[0][tag] and tags[1][tag]), len(release.tag_items.of(tag)), tag

        return "tag", min(both, key=rank)
    people = set(release.item_users.of(near).tolist()) & set(release.item_users.of(item).tolist())
    return "people", len(people - {user})


def test_evidence_is_what_dictionaries_and_sets_find(recommender):
    release = recommender.release
    throughs = set()
    for user in range(0, len(release.users), max(1, len(release.users) // 30)):
        items = release.histories.of(user)
        weights = release.histories.values[release.histories.span(user)]
        speaker = SimpleNamespace(
            items=items, weights=weights, newest=None, reads=0, user_row=user, uncounted=NOBODY
        )
        shown = np.random.default_rng(user).permutation(len(release.items))[:15].astype(np.int32)
        speaking = evidence(release, [speaker], [shown])
        for at, item in enumerate(shown.tolist()):
            expected = list(spoken_for(release, items, weights, item, user))
            assert (speaking.entries[at] >= 0).sum() == len(expected)
            for rank, (near, share, through, what) in enumerate(expected):
                assert items[speaking.entries[at, rank]] == near
                assert speaking.shares[at, rank] == pytest.approx(share, rel=1e-5)
                assert (speaking.relations[at, rank] >= 0) == (through == "relation")
                assert speaking.tags[at, rank] == (what if through == "tag" else -1)
                assert speaking.people[at, rank] == (what if through == "people" else 0)
                throughs.add(through)
    assert {"tag", "people"} <= throughs


def piece_of(release, row):
    """What answers say of an item, found among others."""
    data, more, starts, parts = release.cards_of(np.array([0, row, 0], np.int32))
    id_end, title_end, end = parts[1].tolist()
    card = data[starts[1] :] if starts[1] >= 0 else more[-1 - starts[1] :]
    return read(bytes(card[:end]).decode("ascii"), id_end, title_end)


# ── cards ────────────────────────────────────────────────────────────────────────────────


def test_a_card_reads_back_whatever_the_text():
    card = make_card(HOSTILE, HOSTILE, [HOSTILE, "b"], [HOSTILE], '{"year": 1741}', ["c", HOSTILE])
    whole = json.loads(card.text)
    assert whole["title"] == whole["item"] == HOSTILE
    assert whole["attributes"] == {"year": 1741}
    assert whole["carried"] == ["c", HOSTILE]
    piece = card.piece
    assert json.loads(piece.id) == json.loads(piece.title) == HOSTILE
    assert json.loads(piece.shown + "}") == {
        "item": HOSTILE,
        "title": HOSTILE,
        "tags": [HOSTILE, "b", "c"],
        "domains": [HOSTILE],
    }


def test_five_strongest_tags_stand_before_those_carried_and_an_id_for_a_title():
    card = make_card("x", None, list("abcdefg"), (), "{}", ["g", "a"])
    assert json.loads(card.piece.shown + "}")["tags"] == ["a", "b", "c", "d", "e", "g"]
    assert card.piece.title == '"x"'
    assert json.loads(card.text)["named"] is False


def test_an_item_of_the_journal_is_told_of_like_one_of_the_release(recommender):
    release = recommender.release
    known = release.items.id(0)
    tag, domain = release.tag_names.id(0), release.domains.id(0)
    live = {
        "new": LiveItem("new", HOSTILE, tags=(("tag", tag, 1.0),), domains=((domain, 1.0),)),
        known: LiveItem(known, "another title"),
    }
    longer = appended(release, live)
    piece = json.loads(piece_of(longer, longer.items.row("new")).shown + "}")
    assert piece == {"item": "new", "title": HOSTILE, "tags": [tag], "domains": [domain]}
    assert json.loads(piece_of(longer, 0).title) == "another title"
    assert piece_of(longer, 1) == piece_of(release, 1)
    answer = Recommender(longer).recommend_json(
        [Request(filter=Filter(items=("new",)), n=1)], now=NOW
    )[0]
    assert json.loads(answer)["items"][0]["title"] == HOSTILE


def test_every_card_of_a_release_names_its_item(recommender):
    release = recommender.release
    for row in range(0, len(release.items), 7):
        piece = piece_of(release, row)
        assert json.loads(piece.id) == release.items.id(row)
        assert json.loads(piece.title) == (release.card(row)["title"] or release.items.id(row))
        shown = json.loads(piece.shown + "}")
        assert shown["domains"] == release.domains.ids(release.item_domains.heaviest(row))
