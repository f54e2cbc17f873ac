"""Subjects of every kind, sessions first, pages without repeats, rotation, seeds, batches."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from graph.errors import InputError
from recommender.overlay.overlay import Overlay
from recommender.ranking.pages import ROTATION, item_sums, rotation, variety
from recommender.ranking.request import SESSION_SHARE, Filter, Part, Request, session
from recommender.serving.households import OTHERS, fair_order

NOW = 1_760_000_000


def answer_to(recommender, **fields):
    return recommender.recommend([Request(**fields)], now=NOW)[0]


def ids(answer):
    return [shown.item for shown in answer.items]


def niches_of(planted):
    return dict(zip(planted.answers.items, planted.answers.item_niches.tolist(), strict=True))


def users_of_different_niches(planted, recommender):
    """Pairs of users whose home and second niches do not meet."""
    pairs = []
    known = [u for u in planted.answers.users if u in recommender.release.users]
    niches = dict(zip(planted.answers.users, planted.answers.user_niches.tolist(), strict=True))
    for a, b in itertools.pairwise(known):
        if not set(niches[a]) & set(niches[b]):
            pairs.append((a, b))
    return pairs


# ── sessions and mixes ───────────────────────────────────────────────────────────────────


def subject(recommender, **fields):
    return recommender._reader.read(Request(**fields), NOW)


def test_a_session_outweighs_the_history_by_the_share_it_is_given(recommender, planted):
    user, item = planted.answers.users[0], planted.answers.items[-1]
    for share in (None, 0.0, 0.25, 1.0):
        read = subject(recommender, user=user, items={item: 1.0}, session_share=share)
        expected = SESSION_SHARE if share is None else share
        assert read.weights[-1] == pytest.approx(expected)
        assert sum(read.weights) == pytest.approx(1.0)


def test_without_a_history_a_session_has_all_the_weight(recommender, planted):
    read = subject(recommender, items=session(planted.answers.items[-3:]))
    assert sum(read.weights) == pytest.approx(1.0)
    assert len(set(np.diff(sorted(read.weights)))) >= 1


def test_the_newest_of_a_session_counts_most():
    assert session(["a", "b", "a", "c"]) == pytest.approx({"c": 1.0, "a": 0.9, "b": 0.81})


def test_the_running_session_moves_the_list_to_its_niche(recommender, planted):
    """For users of other niches, most of the first five lie in the niche of the session."""
    niche_of = niches_of(planted)
    right = total = 0
    for user, niches in list(zip(planted.answers.users, planted.answers.user_niches, strict=True))[
        :30
    ]:
        inside = [i for i, n in niche_of.items() if n >= 0 and n not in niches.tolist()]
        niche = niche_of[inside[0]]
        items = [i for i in inside if niche_of[i] == niche][:2]
        for item in ids(
            answer_to(recommender, user=user, items=session(items), n=5, profile="neutral")
        ):
            right += niche_of[item] == niche
            total += 1
    assert right / total >= 0.6


def test_a_mix_is_weighted_as_it_says(recommender, planted):
    user, item = planted.answers.users[0], planted.answers.items[-1]
    tag = next(iter(recommender.release.tags)).split("\x1f")[1]
    parts = (Part("user", user, 1.0), Part("item", item, 2.0), Part("tag", tag, 1.0))
    read = subject(recommender, mix=parts)
    count = len(subject(recommender, user=user).items)
    assert sum(read.weights[:count]) == pytest.approx(1.0)
    assert read.weights[count] == pytest.approx(2.0)
    assert sum(read.weights[count + 1 :]) == pytest.approx(1.0)
    answer = answer_to(recommender, mix=parts)
    assert answer.served_by == "mix"
    assert item not in ids(answer)
    assert len(answer.items) == 20


def test_a_mix_of_one_user_is_that_user(recommender, planted):
    user = planted.answers.users[0]
    mixed = answer_to(recommender, mix=(Part("user", user, 3.0),), n=10)
    assert ids(mixed) == ids(answer_to(recommender, user=user, n=10))


@pytest.mark.parametrize(
    "request_fields",
    [
        {"user": "a", "household": ("a",)},
        {"items": {"a": 1.0}, "mix": (Part("item", "a"),)},
        {"mix": (Part("thing", "a"),)},
        {"mix": (Part("item", "a", 0.0),)},
        {"mix": (Part("item", "a", float("nan")),)},
        {"household": tuple("abcdefghijk")},
        {"items": {"a": 1.0}, "session_share": 1.5},
    ],
)
def test_what_is_no_subject_is_refused(recommender, request_fields):
    with pytest.raises(InputError):
        answer_to(recommender, **request_fields)


def test_what_a_mix_does_not_know_is_said(recommender):
    answer = answer_to(recommender, mix=(Part("user", "x"), Part("item", "y"), Part("tag", "z")))
    assert len(answer.notes) == 3
    assert (answer.served_by, len(answer.items)) == ("popular", 20)


# ── households ───────────────────────────────────────────────────────────────────────────


def test_turns_go_to_the_least_satisfied():
    # The first member likes 0 and 1, the second 2 alone. Best on average would be 0, 1, 2.
    liked = np.array([[1.0, 0.9, 0.0], [0.0, 0.0, 0.6]], np.float32)
    assert fair_order(liked, 3).tolist() == [0, 2, 1]
    assert 0 < OTHERS < 1


def test_a_household_is_fairer_than_its_average(recommender, planted):
    """Over pairs of unlike users: the worse-off member finds more of their niches in the list."""
    niche_of = niches_of(planted)
    niches = dict(zip(planted.answers.users, planted.answers.user_niches.tolist(), strict=True))
    pairs = users_of_different_niches(planted, recommender)
    assert len(pairs) >= 5
    worst = 0
    for pair in pairs:
        shown = ids(answer_to(recommender, household=pair, n=10, profile="neutral"))
        worst += min(sum(niche_of[item] in niches[user] for item in shown) for user in pair)
    assert worst / len(pairs) >= 2.5  # of 10 items that two people share


def test_a_household_is_shown_what_no_member_has_seen(recommender, planted):
    users = planted.answers.users[:3]
    rows = recommender.release.users.rows(users)
    seen = set(recommender.release.blocked.matrix[rows].indices.tolist())
    answer = answer_to(recommender, household=(*users, "nobody"), n=30)
    assert len(answer.items) == 30
    assert not seen & set(recommender.release.items.rows(ids(answer)).tolist())
    assert answer.served_by == "household"
    assert answer.notes == ("the user 'nobody' is not known yet",)
    assert any("one of you" in r.text for shown in answer.items for r in shown.reasons)


def test_a_household_of_strangers_gets_an_answer(recommender):
    assert len(answer_to(recommender, household=("x", "y")).items) == 20


# ── pages ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("request_fields", [{"profile": "neutral"}, {}, {"seed": 3}])
def test_pages_show_every_allowed_item_once(recommender, planted, request_fields):
    request_fields |= {"user": planted.answers.users[0], "reasons": False}
    allowed = recommender.filters.mask(Filter()).sum() - len(
        recommender.release.blocked.matrix[
            [recommender.release.users.row(planted.answers.users[0])]
        ].indices
    )
    shown, cursor = [], None
    while True:
        page = answer_to(recommender, n=13, cursor=cursor, **request_fields)
        assert page == answer_to(recommender, n=13, cursor=cursor, **request_fields)
        shown += ids(page)
        cursor = page.next
        if cursor is None:
            break
    assert len(shown) == len(set(shown)) == allowed


def test_neutral_pages_are_one_long_list(recommender, planted):
    user = planted.answers.users[1]
    long = ids(answer_to(recommender, user=user, n=30, profile="neutral"))
    first = answer_to(recommender, user=user, n=10, profile="neutral")
    second = answer_to(recommender, user=user, n=20, profile="neutral", cursor=first.next)
    assert ids(first) + ids(second) == long


def test_a_cursor_belongs_to_its_request(recommender, planted):
    first = answer_to(recommender, user=planted.answers.users[0], n=5)
    with pytest.raises(InputError, match="another request"):
        answer_to(recommender, user=planted.answers.users[1], n=5, cursor=first.next)
    for damaged in ("", "x", "äöü", first.next[:-3], "A" * 20_000):
        with pytest.raises(InputError, match="cursor"):
            answer_to(recommender, user=planted.answers.users[0], n=5, cursor=damaged)


def test_the_sums_of_ids_differ(recommender):
    sums = item_sums(recommender.release.items)
    assert len(set(sums.tolist())) == len(recommender.release.items)


# ── rotation and seeds ───────────────────────────────────────────────────────────────────


def test_what_was_shown_and_not_clicked_makes_room(recommender, planted):
    user = planted.answers.users[2]
    before = answer_to(recommender, user=user, n=10, profile="neutral")
    often = answer_to(
        recommender, user=user, n=10, profile="neutral", shown={before.items[0].item: 50}
    )
    assert before.items[0].item not in ids(often)
    once = answer_to(
        recommender, user=user, n=150, profile="neutral", shown={before.items[0].item: 1}
    )
    result = next(i for i in once.items if i.item == before.items[0].item)
    assert result.score == pytest.approx(before.items[0].score * ROTATION, rel=1e-4)


def test_rotation_counts_each_time():
    factors = rotation({1: 1, 2: 2}, np.array([0, 1, 2], np.int32))
    np.testing.assert_allclose(factors, [1, ROTATION, ROTATION**2], rtol=1e-6)


def test_a_seed_varies_the_list_and_repeats_it(recommender, planted):
    user = planted.answers.users[4]
    lists = [ids(answer_to(recommender, user=user, seed=seed)) for seed in (1, 1, 2, -5, 2**70)]
    assert lists[0] == lists[1]
    assert len({tuple(shown) for shown in lists}) == 4
    factors = variety(7, np.arange(10_000, dtype=np.int32))
    assert 0.9 <= factors.min() < 0.901
    assert 1.099 < factors.max() <= 1.1
    assert abs(factors.mean() - 1) < 0.005


# ── batches ──────────────────────────────────────────────────────────────────────────────


def test_a_thousand_subjects_are_answered_as_each_alone(recommender, planted):
    users, items = planted.answers.users, planted.answers.items
    kinds = [
        lambda k: Request(user=users[k % len(users)], n=5),
        lambda k: Request(items=session(items[k % 50 : k % 50 + 3]), n=7, profile="neutral"),
        lambda k: Request(user=f"stranger {k}", n=60),
        lambda k: Request(user=users[k % len(users)], n=4, seed=k, filter=Filter(tags_none=("x",))),
        lambda k: Request(household=(users[k % 9], users[9 + k % 9]), n=3),
    ]
    requests = [replace(kinds[k % 5](k), reasons=k % 7 == 0) for k in range(1000)]
    together = recommender.recommend(requests, now=NOW)
    assert len(together) == 1000
    for number in range(0, 1000, 111):
        assert together[number] == recommender.recommend([requests[number]], now=NOW)[0]


def test_no_requests_no_answers(recommender):
    assert recommender.recommend([], now=NOW) == []


# ── everybody, from the command line ─────────────────────────────────────────────────────


def test_lists_for_all_users_are_those_of_each(recommender, used_home, planted, tmp_path, capsys):
    """Parquet and JSON Lines hold the same, with any number of threads; the erased are left out."""
    import json

    import pyarrow.parquet as pq

    from api.cli.main import run
    from recommender.serving.batch import all_lists
    from recommender.serving.recommend import Recommender

    home = ["--home", str(used_home.folder), "recommend", "--all", "-n", "5"]
    for form in ("parquet", "jsonl"):
        out = tmp_path / f"lists.{form}"
        arguments = [*home, "--profile", "neutral", "--format", form, "--out", str(out)]
        assert run([*arguments, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed == {"lists": len(recommender.release.users), "file": str(out)}
    assert {path.name for path in tmp_path.iterdir()} == {"lists.parquet", "lists.jsonl"}
    wrong = [*home, "--profile", "nothing", "--out", str(tmp_path / "none.parquet")]
    assert run(wrong) == 1
    assert not list(tmp_path.glob("none*"))
    table = pq.read_table(tmp_path / "lists.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    assert [line["user"] for line in lines] == list(recommender.release.users)
    flat = [(line["user"], item) for line in lines for item in line["items"]]
    assert [(row["user"], row["item"]) for row in table] == flat
    user = planted.answers.users[0]
    own = next(line["items"] for line in lines if line["user"] == user)
    assert own == ids(answer_to(recommender, user=user, n=5, profile="neutral"))
    erased = Recommender(recommender.release, Overlay.without(recommender.release, [user]))
    rows = np.concatenate([r for r, _ in all_lists(erased, 5, now=NOW, threads=1)])
    assert recommender.release.users.row(user) not in rows
    for (_, a), (_, b) in zip(
        all_lists(recommender, 5, now=NOW, threads=1),
        all_lists(recommender, 5, now=NOW, threads=2),
        strict=True,
    ):
        np.testing.assert_array_equal(a.items, b.items)


def test_rules_and_segments_hold_in_lists_for_all_users(recommender):
    """With rules, each of all users' lists is what the user's own request gives."""
    from recommender.segments.settings import parse_segment_settings
    from recommender.serving.batch import all_lists
    from recommender.serving.recommend import Recommender
    from recommender.serving.rules_file import parse_rules

    items = recommender.release.items
    content = {
        "rule": [
            {"name": "first", "do": "pin", "items": [items.id(0), items.id(1)]},
            {"name": "domains", "do": "limit", "by": "domain", "most": 2},
        ]
    }
    ruled = Recommender(recommender.release, rules=parse_rules(content))
    plain = Recommender(recommender.release)
    grouped = plain.following(
        settings=parse_segment_settings(
            {
                "segment": [{"name": "many", "rule": "items > 8"}],
                "profiles": {"many": {"long_tail": 1.0}},
            }
        )
    )
    pinned = 0
    for way_of_serving in (ruled, plain, grouped):
        for rows, ranking in all_lists(way_of_serving, 5, now=NOW):
            users = way_of_serving.release.users.ids(rows)
            request = [Request(user=user, n=5, reasons=False) for user in users]
            for own, answer in zip(
                ranking.items, way_of_serving.recommend(request, now=NOW), strict=True
            ):
                assert items.ids(own[own >= 0]) == ids(answer)
                pinned += way_of_serving is ruled and ids(answer)[0] in (items.id(0), items.id(1))
    assert pinned > 0


def test_all_needs_a_file_and_no_user(used_home):
    from api.cli.main import run

    for arguments in (["--all"], ["alice", "--all", "--out", "x"], []):
        assert run(["--home", str(used_home.folder), "recommend", *arguments]) == 2


def test_a_session_of_no_weight_changes_nothing_and_breaks_nothing(recommender, planted):
    user, item = planted.answers.users[0], recommender.release.items.id(0)
    result = subject(recommender, user=user, items={item: 0.0}, session_share=0.0)
    plain = subject(recommender, user=user)
    shares = (plain.weights / plain.weights.sum()).tolist()
    assert result.weights.tolist() == pytest.approx([*shares, 0.0], rel=1e-5)
    assert answer_to(recommender, items={item: 0.0}, n=3).served_by == "session"
