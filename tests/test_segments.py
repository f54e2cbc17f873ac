"""Users are grouped by what they do, told apart in words, and assigned again without a refresh."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from graph.model import NO_TIME, table
from graph.snapshot import drop_pairs, take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import Weighting, weigh
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.segments.features import Catalogue, History, Layout, Scale, behaviour
from recommender.segments.grouping import assigned_in, find_segments
from recommender.segments.membership import Behaviour, Segments
from recommender.segments.rules import parse_rule
from recommender.segments.settings import METHODS, SegmentSettings
from recommender.serving.recommend import Recommender
from recommender.serving.segment_view import of_user
from tests.data import package

NOW = 1_760_000_000
DAY, HOUR = 86_400, 3_600
OWLS, LARKS = 60, 60


def catalogue_batch(shift=0):
    """60 night owls in one domain and 60 larks in four; `shy` users did two things.

    Owls act at one in the morning every day, larks at ten; `shift` draws other choices.
    """
    rng = np.random.default_rng(shift)
    domains = ("noir", "baroque", "maps", "bread")
    items = [f"i{n:02}" for n in range(80)]
    events = []
    for u in range(OWLS + LARKS):
        owl = u < OWLS
        chosen = rng.choice(20 if owl else 80, 12, replace=False)
        for n, i in enumerate(chosen):
            day = int(rng.integers(100) if owl else 300 + rng.integers(60))
            at = NOW // DAY * DAY - day * DAY + (1 if owl else 10) * HOUR + n
            name = f"owl{u:03}" if owl else f"lark{u:03}"
            events.append({"user": name, "item": items[i], "kind": "like", "at": at})
    for u in range(5):
        events += [
            {"user": f"shy{u}", "item": items[n], "kind": "like", "at": NOW - DAY}
            for n in (u, u + 1)
        ]
    return {
        "items": table("items", [{"id": item} for item in items]),
        "item_domains": table(
            "item_domains",
            [
                {"item": item, "domain": domains[n // 20], "weight": 1.0}
                for n, item in enumerate(items)
            ],
        ),
        "events": table("events", events),
    }


def snapshot_of(path, shift=0):
    store = EmbeddedStore(path)
    store.apply(catalogue_batch(shift))
    snapshot = take_snapshot(store)
    store.close()
    return snapshot


def found_in(snapshot, settings, last=None):
    graph = weigh(snapshot, Weighting(), NOW)
    vectors = np.asarray((graph.user_items.T @ graph.user_items).todense())[:, :4]
    rarity = np.linspace(0, 1, len(snapshot.items)).astype(np.float32)
    return find_segments(
        snapshot, graph, vectors.astype(np.float32), rarity, settings, last=last, seed=0, now=NOW
    )


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return snapshot_of(tmp_path_factory.mktemp("owls") / "store.sqlite")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    package("sklearn")
    home = Home(tmp_path_factory.mktemp("grouped")).create()
    store = EmbeddedStore(home.store)
    store.apply(catalogue_batch())
    refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    store.close()
    return home


@pytest.fixture(scope="module")
def grouped(home):
    from recommender.serving.live import Live

    return Live(home).recommender()


# ── grouping ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", [m for m in METHODS if m != "none"])
def test_every_method_finds_the_planted_groups(snapshot, method):
    package("sklearn")
    result = found_in(snapshot, SegmentSettings(method=method, most=4))
    owls = np.array([name.startswith("owl") for name in snapshot.users])
    shy = np.array([name.startswith("shy") for name in snapshot.users])
    assert (result.assigned[shy] == -1).all()
    assert (result.assigned[~shy] >= 0).all()
    pairs = {(bool(o), int(g)) for o, g in zip(owls[~shy], result.assigned[~shy], strict=True)}
    groups = {group for _, group in pairs}
    assert len(groups) >= 2
    assert len(pairs) == len(groups)  # no group holds both


def test_personas_name_what_was_planted_and_names_stay(snapshot, home, grouped, tmp_path):
    report = grouped.release.manifest["segments"]
    words = " ".join(segment["persona"] for segment in report["segments"])
    assert any(word in words for word in ("night", "morning", "domain", "seen"))
    assert [segment["users"] for segment in report["segments"]][-1] == 5  # the shy are new
    assert len(set(report["names"])) == len(report["names"])
    again = found_in(
        snapshot_of(tmp_path / "s.sqlite", shift=9), SegmentSettings(), grouped.release
    )
    # Other choices, the same behaviour: whoever keeps the group keeps its name.
    kept = set(again.manifest["names"]) & set(report["names"])
    assert len(kept) == min(len(again.manifest["names"]), len(report["names"]))


def test_what_profiles_are_chosen_by_is_not_known_to_the_segments(snapshot):
    """Told from the past alone a user's segment is that of a release which knows only the past."""
    result = found_in(snapshot, SegmentSettings())
    graph = weigh(snapshot, Weighting(), NOW)
    vectors = np.asarray((graph.user_items.T @ graph.user_items).todense())[:, :4]
    rarity = np.linspace(0, 1, len(snapshot.items)).astype(np.float32)
    catalogue = Catalogue(graph.item_domains, graph.item_tags, rarity, vectors.astype(np.float32))
    np.testing.assert_array_equal(assigned_in(result, snapshot, graph, catalogue), result.assigned)
    pairs = graph.user_items.tocoo()
    owls = np.flatnonzero([name.startswith("owl") for name in snapshot.users])
    late = np.isin(pairs.coords[0], owls[:5])  # the whole history of five users is held out
    users, items = pairs.coords[0][late], pairs.coords[1][late]
    part = drop_pairs(snapshot, users.astype(np.int32), items.astype(np.int32))
    own = assigned_in(result, part, weigh(part, Weighting(), NOW), catalogue)
    assert (own[owls[:5]] == -1).all()
    rest = np.setdiff1d(np.arange(len(own)), owls[:5])
    np.testing.assert_array_equal(own[rest], result.assigned[rest])


def test_chances_are_told_where_they_were_foretold(home, grouped):
    """A release without forecasts says None; one with them tells users and nobody else."""
    user = grouped.release.users.id(0)
    assert of_user(grouped, user, now=NOW)["moves"] in (None, *np.linspace(0, 1, 10001).round(4))
    chances = np.full(len(grouped.release.users), 0.25, np.float32)
    arrays = dict(grouped.release.arrays) | {"segments.returns": chances}
    changed = Recommender(replace(grouped.release, arrays=arrays))
    assert of_user(changed, user, now=NOW)["returns"] == 0.25
    assert of_user(changed, "nobody", now=NOW)["returns"] is None
    report = json.loads((home.reports / "segments.json").read_text())
    assert set(report["forecasts"]) == {"moment", "moves", "returns"}


def test_the_report_says_what_was_tried_and_what_matters(snapshot):
    package("sklearn")
    report = found_in(snapshot, SegmentSettings(most=4)).report
    assert [attempt["groups"] for attempt in report["tried"]] == [2, 3, 4]
    assert report["stable"]
    values = list(report["importance"].values())
    assert values == sorted(values, reverse=True)
    assert all(0 <= value <= 1 + 1e-9 for value in values)


def test_without_scikit_learn_everyone_is_one_segment_and_it_says_so(snapshot, monkeypatch):
    monkeypatch.setitem(sys.modules, "recommender.segments.clusters", None)
    result = found_in(snapshot, SegmentSettings())
    assert result.manifest["names"] == ["everyone"]
    assert "nichegraph[segments]" in result.manifest["note"]
    assert set(result.assigned.tolist()) == {0, -1}


def test_the_same_seed_gives_the_same_groups(snapshot):
    package("sklearn")
    first, second = (found_in(snapshot, SegmentSettings(most=3)) for _ in range(2))
    assert first.manifest == second.manifest
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name])


# ── online ───────────────────────────────────────────────────────────────────────────────


def test_a_known_user_is_in_the_group_of_the_refresh(grouped):
    names = {
        user: grouped.segments_of(Request(user=user), now=NOW) for user in grouped.release.users
    }
    report = grouped.release.manifest["segments"]
    for segment in report["segments"]:
        assert sum(result == (segment["name"],) for result in names.values()) == segment["users"]


def test_strangers_are_new_until_they_have_done_enough(grouped):
    few = {f"i{n:02}": 1.0 for n in range(3)}
    many = {f"i{n:02}": 1.0 for n in range(12)}
    assert grouped.segments_of(Request(user="nobody"), now=NOW) == ("new",)
    assert grouped.segments_of(Request(items=few), now=NOW) == ("new",)
    (name,) = grouped.segments_of(Request(items=many), now=NOW)
    assert name in grouped.release.manifest["segments"]["names"]


def test_a_known_user_moves_when_the_history_grew_past_the_threshold(grouped):
    release = grouped.release
    row = release.users.row("owl000")
    own = slice(*release.histories.indptr[row : row + 2])
    items = release.arrays["histories.indices"][own].tolist()
    segments = Segments(release)
    before = segments.learned(Behaviour(row, items, [1.0] * len(items)))
    others = [i for i in range(20, 80) if i not in items]
    a_little = items + others[:2]
    assert segments.learned(Behaviour(row, a_little, [1.0] * len(a_little))) == before
    raw_before = segments.measured(
        "domain_share", "noir", Behaviour(row, items, [1.0] * len(items)), NOW
    )
    assert raw_before == 1.0
    much = items + others
    moved = segments.learned(Behaviour(row, much, [1.0] * len(much)))
    assert moved in release.manifest["segments"]["names"]


def test_a_worker_assigns_without_scikit_learn(grouped, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "recommender.segments.clusters", None)
    many = {f"i{n:02}": 1.0 for n in range(12)}
    answer = Recommender(grouped.release).recommend([Request(items=many)], now=NOW)[0]
    assert answer.segment in grouped.release.manifest["segments"]["names"]


# ── features, by hand ────────────────────────────────────────────────────────────────────


def test_features_by_hand():
    """One user, three items: two noir, one maps; four events, one on a Saturday at 2 am."""
    matrix = csr_array(np.array([[2.0, 1.0, 1.0], [0, 0, 0]], np.float32))
    domains = csr_array(np.array([[1.0, 0], [1, 0], [0, 1]], np.float32))
    tags = csr_array(np.array([[1.0, 0], [0, 1], [0, 0]], np.float32))
    catalogue = Catalogue(
        domains, tags, np.array([0, 0.5, 1], np.float32), np.eye(3, dtype=np.float32)
    )
    saturday = 2 * DAY  # 1970-01-03
    at = np.array([saturday + 2 * HOUR, 4 * DAY + 9 * HOUR, 5 * DAY + 9 * HOUR, NO_TIME])
    history = History(
        matrix,
        np.zeros(4, np.int32),
        np.array([0, 0, 1, 1], np.int32),
        np.array([4, 2, np.nan, np.nan], np.float32),
        at,
    )
    wanted = Layout((0, 1), ("noir", "maps"), ("like", "play"), 3)
    raw = behaviour(history, catalogue, wanted, 5 * DAY + 9 * HOUR)
    features = dict(zip(wanted.names, raw[0].tolist(), strict=True))
    assert features["days since last seen"] == 0
    assert features["events"] == pytest.approx(np.log(5))
    assert features["mean value"] == 3
    assert features["night"] == pytest.approx(1 / 3)
    assert features["morning"] == pytest.approx(2 / 3)
    assert features["weekend"] == pytest.approx(1 / 3)
    assert features["domain noir"] == 0.75
    assert features["largest domain"] == 0.75
    assert features["domains"] == pytest.approx(
        np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    )
    assert features["tag concentration"] == pytest.approx((4 + 1) / 9)
    assert features["novelty"] == pytest.approx(0.5)
    assert features["kind play"] == 0.5
    assert features["vector 0"] == pytest.approx(2 / np.sqrt(6))
    assert np.isnan(raw[1]).all()


def test_scaling_fills_clips_and_weighs():
    raw = np.array([[0.0, 5, np.nan], [1, 5, np.nan], [np.nan, 5, np.nan], [1e9, 5, np.nan]])
    scale = Scale.of(raw, ("a", "b", "c"), {"a": 2.0})
    made = scale(raw)
    assert np.isfinite(made).all()
    assert (made[:, 1:] == 0).all()  # constant and unknown features count nothing
    median = scale(np.array([[scale.median[0], 5, 0]]))
    np.testing.assert_array_equal(made[2], median[0])
    np.testing.assert_array_equal(scale(np.array([[1e30, 5, 0]])), scale(np.array([[1e12, 5, 0]])))
    np.testing.assert_array_equal(Scale.read(scale.array())(raw), made)


# ── rules ────────────────────────────────────────────────────────────────────────────────


def test_a_user_may_be_in_several_segments(grouped):
    rules = (
        ("noir people", parse_rule("domain share of noir > 90 %")),
        (
            "just here",
            parse_rule({"last_seen_days": {"below": 400}, "night_share": {"above": 0.5}}),
        ),
        ("nobody", parse_rule("domain share of nowhere > 1 %")),
    )
    recommender = Recommender(grouped.release, settings=SegmentSettings(rules=rules))
    result = recommender.segments_of(Request(user="owl001"), now=NOW)
    assert result[:2] == ("noir people", "just here")
    assert len(result) == 3
    assert recommender.segments_of(Request(user="lark100"), now=NOW)[0] not in (
        "noir people",
        "just here",
    )
    session = Request(items={f"i{n:02}": 1.0 for n in range(3)})
    assert recommender.segments_of(session, now=NOW) == ("noir people", "new")


# ── doors ────────────────────────────────────────────────────────────────────────────────


def test_the_route_tells_of_segments_and_of_one_user(home):
    from api.app import create_app
    from api.settings import load_settings

    client = create_app(load_settings(home.folder)).test_client()
    result = client.get("/v1/segments").json
    assert [segment["name"] for segment in result["segments"]][-1] == "new"
    assert sum(segment["users"] for segment in result["segments"]) == OWLS + LARKS + 5
    of_owl = client.get("/v1/segments?user=owl001").json
    assert of_owl["user"] == "owl001"
    assert len(of_owl["segments"]) == 1
    stranger = client.get("/v1/segments?user=nobody").json
    assert [segment["name"] for segment in stranger["segments"]] == ["new"]
    assert client.get("/v1/segments?usr=x").status_code == 400


def test_the_command_shows_segments_and_says_when_there_is_no_curve(home, tmp_path, capsys):
    package("matplotlib")
    from api.cli.main import run

    assert run(["--home", str(home.folder), "segments"]) == 0
    assert "new" in capsys.readouterr().out
    assert run(["--home", str(home.folder), "segments", "--user", "owl001"]) == 0
    picture = tmp_path / "users.svg"
    assert run(["--home", str(home.folder), "segments", "--picture", str(picture)]) == 0
    assert picture.stat().st_size > 1000
    assert run(["--home", str(home.folder), "segments", "curve"]) == 1
    assert "learned no profiles" in capsys.readouterr().err
