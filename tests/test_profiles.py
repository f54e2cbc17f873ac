"""Each segment's lists are made for it: learned within a budget, edited, moved along a curve."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from graph.errors import InputError, SettingError
from recommender.learning.profile_learning import _leaning, learn
from recommender.ranking.candidates import Ranking
from recommender.ranking.request import Request
from recommender.ranking.rerank import DEFAULT_PROFILE, NEUTRAL_PROFILE, Profile
from recommender.segments.report import curves, draw_curves
from recommender.segments.settings import (
    SegmentSettings,
    load_segment_settings,
    parse_segment_settings,
)
from recommender.serving.live import Live
from recommender.serving.profiles import Profiles
from recommender.serving.recommend import Recommender
from tests.data import package

NOW = 1_760_000_000
USERS, ITEMS = 120, 60


@pytest.fixture(scope="module")
def learned():
    """60 users who want the rare among their candidates, 60 who want the well-known."""
    rng = np.random.default_rng(0)
    popularity = np.repeat([400, 4], [20, 40])  # items 0 … 19 are the head
    pool = np.stack(
        [
            np.concatenate([rng.permutation(20)[:15], 20 + rng.permutation(40)[:15]])
            for _ in range(USERS)
        ]
    ).astype(np.int32)
    scores = np.tile(np.linspace(1, 0.4, 30, dtype=np.float32), (USERS, 1))
    truth = np.zeros((USERS, ITEMS), np.float32)
    for user in range(USERS):
        rare = user < 60
        wanted = pool[user, 15:20] if rare else pool[user, :12]
        truth[user, wanted] = 1
    release = SimpleNamespace(
        likeness=np.eye(ITEMS, dtype=np.float32),
        rarity=np.repeat([0.0, 0.9], [20, 40]).astype(np.float32),
        created_at=np.full(ITEMS, np.iinfo(np.int64).min),
        item_users=SimpleNamespace(indptr=np.concatenate([[0], np.cumsum(popularity)])),
    )
    segments = np.repeat([0, 1], 60)
    return learn(
        Ranking(pool, scores), csr_array(truth), segments, release, ["rare", "known"], now=NOW
    )


def test_each_segment_gets_the_balance_that_suits_it(learned):
    rare, known = (learned[name].curve[learned[name].chosen] for name in ("rare", "known"))
    assert rare.long_tail_share > known.long_tail_share
    assert rare.ndcg >= learned["rare"].neutral.ndcg


def test_the_budget_is_kept_over_all_users(learned):
    chosen = sum(learned[n].curve[learned[n].chosen].ndcg for n in ("rare", "known"))
    neutral = sum(learned[n].neutral.ndcg for n in ("rare", "known"))
    assert chosen >= 0.99 * neutral
    default = learned["default"]
    assert default.curve[default.chosen].ndcg >= 0.99 * default.neutral.ndcg


def test_a_curve_gives_up_ndcg_only_for_long_tail(learned):
    for profile in learned.values():
        shares = [point.long_tail_share for point in profile.curve]
        assert shares == sorted(shares)
        free = [
            point.ndcg for number, point in enumerate(profile.curve) if number != profile.chosen
        ]
        assert free == sorted(free, reverse=True)


def test_a_segment_too_small_to_tell_gets_no_profile_of_its_own():
    pool = Ranking(np.tile(np.arange(5, dtype=np.int32), (10, 1)), np.ones((10, 5), np.float32))
    release = SimpleNamespace(
        likeness=np.eye(5, dtype=np.float32),
        rarity=np.zeros(5, np.float32),
        created_at=np.zeros(5, np.int64),
        item_users=SimpleNamespace(indptr=np.arange(6)),
    )
    result = learn(
        pool, csr_array(np.eye(10, 5, dtype=np.float32)), np.zeros(10, int), release, ["a"], now=1
    )
    assert list(result) == ["default"]


def test_what_a_small_segment_says_is_drawn_towards_what_all_say():
    """By hand: of two users, one gains .2; of all four, .05 a head. 200 users' worth weigh in."""
    values = np.array([[0.2, 0.4, 0.6, 0.8], [0.4, 0.4, 0.6, 0.8]])
    groups = {"default": np.arange(4), "few": np.array([0, 1])}
    plain = _leaning(values, groups, grows=False)
    np.testing.assert_allclose(plain[0], [0.5, 0.55])  # all are as they are
    np.testing.assert_allclose(plain[1], [0.3, 0.3 + (2 * 0.1 + 200 * 0.05) / 202])
    grown = _leaning(values, groups, grows=True)  # a group at .3 of .5 is expected to gain .03
    np.testing.assert_allclose(grown[1], [0.3, 0.3 + (2 * 0.1 + 200 * 0.03) / 202])


# ── serving ──────────────────────────────────────────────────────────────────────────────


def served_share(recommender, long_tail):
    """Mean rarity of what 30 users are shown."""
    requests = [
        Request(user=user, n=10, long_tail=long_tail, reasons=False)
        for user in list(recommender.release.users)[:30]
    ]
    rarity = recommender.release.rarity
    rows = [
        recommender.release.items.row(entry.item)
        for answer in recommender.recommend(requests, now=NOW)
        for entry in answer.items
    ]
    return float(rarity[rows].mean())


def test_more_long_tail_asked_is_more_given(recommender):
    shares = [served_share(recommender, share) for share in (0.0, 0.3, 0.6, 1.0)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_weight_of_the_long_tail_never_falls_along_a_curve(recommender, low, high):
    low, high = sorted((low, high))
    profiles = Profiles(recommender.release)
    assert profiles.along("default", low).long_tail <= profiles.along("default", high).long_tail


def test_learned_curves_are_read_back(recommender, learned):
    content = {name: entry.to_json() for name, entry in learned.items()}
    manifest = recommender.release.manifest
    segments = manifest["segments"] | {"profiles": content}
    release = replace(recommender.release, manifest=manifest | {"segments": segments})
    profiles = Profiles(release)
    assert profiles.named["rare"] == learned["rare"].curve[learned["rare"].chosen].profile
    assert profiles.choose(None, ("unheard of", "rare"), None)[0] == "rare"
    assert profiles.choose("neutral", ("rare",), None) == ("neutral", NEUTRAL_PROFILE)
    assert profiles.along("rare", 0).long_tail == learned["rare"].curve[0].profile.long_tail
    result = curves(release, "rare")
    assert list(result) == ["rare"]
    with pytest.raises(InputError, match="no curve"):
        curves(release, "rarest")


def test_the_curve_is_drawn_the_same_each_time(learned, tmp_path):
    package("matplotlib")
    content = {name: entry.to_json() for name, entry in learned.items()}
    for name in ("a.svg", "b.svg"):
        draw_curves(content, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (
        b"rare" in (tmp_path / "a.svg").read_bytes() or (tmp_path / "a.svg").stat().st_size > 5000
    )
    with pytest.raises(InputError, match=r"\.svg or \.png"):
        draw_curves(content, tmp_path / "a.gif")


def test_an_edited_profile_serves_its_segment_and_requests_that_name_it(recommender):
    settings = parse_segment_settings(
        {
            "segment": [{"name": "collectors", "rule": "items >= 1"}],
            "profiles": {"collectors": {"long_tail": 2}, "calm": {"diversity": 0}},
        }
    )
    own = Recommender(recommender.release, settings=settings)
    user = recommender.release.users.id(0)
    answer = own.recommend([Request(user=user)], now=NOW)[0]
    assert (answer.segment, answer.profile) == ("collectors", "collectors")
    plain = own.recommend([Request(user=user, profile="calm")], now=NOW)[0]
    neutral = own.recommend([Request(user=user, profile="neutral")], now=NOW)[0]
    assert plain.items == neutral.items
    assert answer.items != neutral.items
    stranger = own.recommend([Request(user="nobody at all")], now=NOW)[0]
    assert (stranger.segment, stranger.profile) == ("new", "default")


def test_segments_is_the_profile_of_each_users_own_segment(recommender):
    own = Recommender(recommender.release)
    rows = np.arange(20)
    name = own.segments.name(int(own.segments.of_users()[0]))
    own = own.following(settings=SegmentSettings(profiles={name: Profile(long_tail=3.0)}))
    together = own.rank_users(rows, 10, profile="segments").items
    members = own.segments.of_users()[rows] == own.segments.of_users()[0]
    np.testing.assert_array_equal(
        together[members], own.rank_users(rows, 10, profile=name).items[members]
    )


def test_servers_take_up_a_changed_file_and_keep_the_old_one_when_it_is_wrong(home):
    clock = iter(range(0, 100, 10))
    live = Live(home, clock=lambda: next(clock))
    assert "loud" not in live.recommender().profiles.named
    home.segments.write_text("[profiles.loud]\nlong_tail = 1.0\n", encoding="utf-8")
    assert live.recommender().profiles.named["loud"] == Profile(long_tail=1.0)
    home.segments.write_text("[profiles.loud]\nlong_tale = 1.0\n", encoding="utf-8")
    assert live.recommender().profiles.named["loud"] == Profile(long_tail=1.0)
    assert "did you mean 'long_tail'" in live.segments_problem
    home.segments.unlink()
    assert "loud" not in live.recommender().profiles.named
    assert live.segments_problem is None


# ── the file ─────────────────────────────────────────────────────────────────────────────


def test_a_missing_file_gives_the_defaults(tmp_path):
    assert load_segment_settings(tmp_path / "segments.toml") == SegmentSettings()
    assert Profile() == NEUTRAL_PROFILE
    assert DEFAULT_PROFILE.long_tail > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[learnt]", "did you mean 'learned'"),
        ("[learned]\nmethod = 'means'", "kmeans, gaussian"),
        ("[learned]\nmost = 1", "fewest"),
        ("[learned]\nmost = true", "whole number"),
        ("[learned]\nminimum_events = 0", "1 or more"),
        ("[weights]\nrecncy = 1", "did you mean 'recency'"),
        ("[weights]\nrecency = -1", "between 0 and 10"),
        ("[[segment]]\nname = 'a'", r"segment 1 \(a\): needs a rule"),
        ("[[segment]]\nrule = 'events > 1'", "segment 1: needs a name"),
        ("[[segment]]\nname = 'new'\nrule = 'events > 1'", "is taken"),
        ("[[segment]]\nname = 'a'\nrule = 'evnts > 1'", r"segment 1 \(a\): rule, character 1"),
        ("[segment]\nname = 'a'", "two brackets"),
        ("[profiles.neutral]\nlong_tail = 1", "neutral profile is fixed"),
        ("[profiles.a]\nlong_tail = nan", "is nan; write a number"),
        ("[profiles.a]\nlong_tail = 'much'", "must be a number"),
        ("[profiles.a]\nrelevance = 0", "every weight is 0"),
        ("profiles = 3", "must be a table"),
        ("[profiles", "not valid TOML"),
    ],
)
def test_wrong_settings_name_the_key_and_the_remedy(tmp_path, text, words):
    path = tmp_path / "segments.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingError, match=words):
        load_segment_settings(path)
