"""What compiled code writes, beside Python: numbers, names of tags, lists with their reasons."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.model import tag_key, tag_parts
from recommender.ranking.request import Request
from recommender.serving.telling import FEWEST_PEOPLE, VERBS
from recommender.serving.written import _number, _tag
from tests.test_answers_json import NOW, spoken_for


def text_of(write, *arguments):
    room = np.zeros(400, np.uint8)
    return room[: write(room, 0, *arguments)].tobytes().decode()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.floats(-1e6, 1e6), st.sampled_from([4, 6]))
def test_a_number_is_written_rounded_and_without_zeros_at_its_end(value, digits):
    text = text_of(_number, value, digits)
    assert re.fullmatch(rf"-?(0|[1-9]\d*)\.(0|\d{{0,{digits - 1}}}[1-9])", text)
    assert float(text) == pytest.approx(value, abs=0.5001 * 10**-digits)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0"), (1.5, "1.5"), (0.1234567, "0.123457"), (-2.0000001, "-2.0"), (5e-7, "0.0"),
     (1_760_000_000.0, "1760000000.0"), (1e13, "10000000000000.0"), (1e30, str(9 * 10**18) + ".0")],
)  # fmt: skip
def test_numbers_by_hand(value, text):
    assert text_of(_number, value, 6) == text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_the_name_of_a_tag_reads_back_whatever_it_holds(name):
    key = np.frombuffer(tag_key("genre", name).encode(), np.uint8)
    assert json.loads(f'"{text_of(_tag, key, 0, len(key))}"') == name


def test_lists_and_reasons_say_what_the_release_holds(recommender):
    """Titles and domains of the cards; the history's strongest entries, and how they go on."""
    release, ways = recommender.release, set()
    users = release.users.ids(range(0, len(release.users), max(1, len(release.users) // 15)))
    requests = [Request(user=user, n=10) for user in users]
    ranked = recommender.rank_requests(requests, 10, now=NOW)
    texts = recommender.recommend_json(requests, now=NOW)
    for user, rows, scores, text in zip(users, ranked.items, ranked.scores, texts, strict=True):
        row = release.users.row(user)
        items = release.histories.of(row)
        weights = release.histories.values[release.histories.span(row)]
        shown = json.loads(text)["items"]
        assert [entry["item"] for entry in shown] == release.items.ids(rows[rows >= 0])
        for entry, item, score in zip(shown, rows.tolist(), scores.tolist(), strict=False):
            assert entry["score"] == pytest.approx(score, abs=1e-6)
            assert entry["title"] == (release.card(item)["title"] or release.items.id(item))
            assert entry["domains"] == release.domains.ids(release.item_domains.heaviest(item))
            assert sum(entry["parts"].values()) == pytest.approx(entry["score"], abs=1e-5)
            if entry["source"] != "items":
                continue
            expected = list(spoken_for(release, items, weights, item, row))
            assert len(entry["reasons"]) == len(expected)
            for reason, (near, share, through, what) in zip(
                entry["reasons"], expected, strict=True
            ):
                assert reason["share"] == pytest.approx(share, abs=1e-4)
                name = release.card(near)["title"] or release.items.id(near)
                kind = reason["path"][0]["text"]
                begins = f"because you {VERBS.get(kind, 'chose')} “{name}”"
                assert reason["text"] == begins + goes_on(release, near, item, through, what)
                assert reason["path"][1] == {
                    "node": "Item", "text": name, "id": release.items.id(near)
                }  # fmt: skip
                assert reason["path"][-1]["id"] == entry["item"]
                ways.add(through)
    assert {"tag", "people"} <= ways


def goes_on(release, near, item, through, what):
    """The second half of a sentence."""
    if through == "relation":
        starts = [(near, item), (item, near)]
        for start, end in starts:
            for at in range(*release.relations.indptr[start : start + 2]):
                if release.relations.indices[at] == end:
                    return f", linked to it as “{release.relation_kind(at)}”"
    if through == "tag":
        return f", both tagged “{tag_parts(release.tags.id(what))[1]}”"
    if what >= FEWEST_PEOPLE:
        return f", which {what} people choose as well"
    few, none = ", which the same people choose as well", ", which is close to it in the graph"
    return few if what else none
