"""The trial has seen nothing of what is held back: its model, its groups, its tags."""

from dataclasses import fields, replace

import numpy as np
import pytest

from embeddings.item_item import scorers
from embeddings.item_item.recipe import RIDGE, Scorer
from graph.domains import derive_domains
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh, weigh_tags
from recommender.learning import build as building
from recommender.learning import grouping_step
from recommender.learning.build import RefreshConfig, build
from recommender.learning.going_on import TYPES
from recommender.learning.grouping_step import group_users, groups_in, learn_profiles
from recommender.learning.parts import parts_of
from recommender.learning.split import GATE, SELECT, pair_parts, relevant_pairs
from recommender.learning.trial import Made, fit_trial
from recommender.releases.steps import Steps
from recommender.segments.features import Catalogue
from recommender.segments.grouping import assigned_in
from recommender.segments.settings import SegmentSettings
from tests.small_world import batch

NOW = 1_760_000_000
CONFIG = RefreshConfig(preset="fast", threads=1)


def quiet(_):
    pass


@pytest.fixture(scope="module")
def whole(planted_home):
    """Snapshot, weighted graph, domains and what a refresh builds of the planted catalogue."""
    store = EmbeddedStore(planted_home.store)
    snapshot = take_snapshot(store)
    store.close()
    domains = derive_domains(snapshot, 0)
    graph = weigh(snapshot, CONFIG.weighting, NOW, domains)
    return snapshot, graph, domains, build(snapshot, graph, CONFIG, quiet)


@pytest.fixture(scope="module")
def trial(whole, tmp_path_factory):
    snapshot, _, domains, built = whole
    folder, parts = tmp_path_factory.mktemp("trial"), parts_of(snapshot, CONFIG.seed)
    made = Made(built.recipe, CONFIG.weighting, CONFIG.preset)
    steps = Steps(folder)
    return fit_trial(parts.fit(snapshot), parts, domains, CONFIG, made, steps, now=NOW, say=quiet)


def keys(rows, columns, width):
    return np.asarray(rows, np.int64) * width + np.asarray(columns, np.int64)


def keys_of(matrix):
    matrix = matrix.tocoo()
    return keys(matrix.row, matrix.col, matrix.shape[1])


def keys_of_rows(rows, width):
    return keys(
        np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr)), rows.indices, width
    )


def in_full(release):
    """The item table as a matrix (i, i)."""
    table = release.table
    full = np.zeros((len(release.items), len(release.items) + 1), np.float32)
    np.put_along_axis(full, table.neighbours.astype(np.int64), table.scores, axis=1)  # -1: the last
    return full[:, :-1]


def test_a_trial_beside_another_does_not_search_the_same_spectrum(whole, tmp_path, monkeypatch):
    """Its own powers, weights and penalty are in the table; a wider spectrum it must find."""
    snapshot, _, domains, built = whole
    parts = parts_of(snapshot, CONFIG.seed)
    fit = parts.fit(snapshot)

    def fitted(name, penalty=10.0, dimensions=128, **more):
        wide = Scorer("spectral", 0.5, 0.5, 0.5, dimensions)
        weights = ((replace(RIDGE, strength=penalty), 1.0), (wide, 0.3))
        made = Made(replace(built.recipe, weights=weights), CONFIG.weighting, CONFIG.preset)
        steps = Steps(tmp_path / name, TYPES)
        return fit_trial(fit, parts, domains, CONFIG, made, steps, now=NOW, say=quiet, **more)

    first, alone = fitted("first"), fitted("alone", penalty=30.0)
    monkeypatch.setattr(scorers, "spectrum", lambda *_, **__: pytest.fail("searched again"))
    beside = fitted("beside", penalty=30.0, beside=first)
    own, its, other = (in_full(trial.recommender.release) for trial in (beside, alone, first))
    size = np.abs(its).mean()
    assert np.abs(own - its).mean() < 0.001 * size
    assert np.abs(own - other).mean() > 0.03 * size
    with pytest.raises(pytest.fail.Exception, match="searched again"):
        fitted("wider", dimensions=140, beside=first)


@pytest.mark.parametrize(("part", "name"), [(SELECT, "select"), (GATE, "gate")])
def test_a_trial_is_asked_for_what_is_held_back_and_knows_none_of_it(whole, trial, part, name):
    snapshot, graph, _, _ = whole
    pairs, arguments = relevant_pairs(snapshot, graph.user_items, CONFIG.seed), getattr(trial, name)
    held = pair_parts(pairs) == part
    width = len(snapshot.items)
    wanted = keys(pairs.users[held], pairs.items[held], width)
    assert len(wanted) > 100
    assert set(keys_of(arguments.truth)) == set(wanted)
    events = trial.snapshot.events
    release = trial.recommender.release
    known = [
        keys(events.user, events.item, width),
        keys_of(trial.graph.user_items),
        keys_of_rows(release.histories, width),
        keys_of_rows(release.blocked, width),
    ]
    for seen in known:
        assert len(seen) > len(wanted)
        assert not set(seen) & set(wanted)
    assert len(arguments.users) > 100
    for user in arguments.users:
        assert arguments.truth.indptr[user] < arguments.truth.indptr[user + 1]
        assert len(release.histories.of(int(user)))


def test_a_trials_table_is_learned_without_what_it_has_to_find(whole, trial):
    """Its popularity is that of the rest, and its table is not that of the release."""
    built = whole[3]
    release = trial.recommender.release
    rest = np.asarray(trial.graph.user_items.sum(axis=0)).ravel()
    np.testing.assert_allclose(release.popularity, rest, rtol=1e-5)
    assert not np.array_equal(release.arrays["table.scores"], built.arrays["table.scores"])
    assert not np.array_equal(release.popularity, built.arrays["popularity"])


def test_profiles_are_learned_for_groups_told_without_what_is_to_be_found(
    whole, trial, monkeypatch
):
    snapshot, graph, _, built = whole
    groups = group_users(built, snapshot, graph, CONFIG, SegmentSettings(), last=None, now=NOW)
    arguments = {}

    def record(pool, truth, segments, release, names, **_):
        arguments.update(pool=pool, truth=truth, segments=segments, release=release, names=names)
        return {}

    monkeypatch.setattr(grouping_step, "learn", record)
    own = groups_in(trial, built, graph, groups)
    learn_profiles(trial, own, groups, now=NOW)
    catalogue = Catalogue(
        graph.item_domains, graph.item_tags, built.arrays["rarity"], built.vectors["spectral"]
    )
    blind = assigned_in(groups, trial.snapshot, trial.graph, catalogue)
    seeing = assigned_in(groups, snapshot, graph, catalogue)
    users = trial.select.users
    assert not np.array_equal(blind[users], seeing[users])  # so that the next line can fail
    assert np.array_equal(own, blind)
    assert np.array_equal(arguments["segments"], blind[users])
    assert arguments["release"] is trial.recommender.release
    assert set(keys_of(arguments["truth"])) == set(keys_of(trial.select.truth[users]))
    shown = keys(np.arange(len(users))[:, None], arguments["pool"].items, len(snapshot.items))
    # What is to be found is among what is proposed: it is not blocked.
    assert np.isin(shown, keys_of(arguments["truth"])).any()


def test_the_table_is_chosen_without_the_tags_written_on_what_it_has_to_find(tmp_path, monkeypatch):
    """Expected: the tags of the same graph, tag events of the pairs held back cut by hand."""
    store = EmbeddedStore(tmp_path / "store.sqlite")
    store.apply(batch())
    snapshot = take_snapshot(store)
    store.close()
    graph = weigh(snapshot, CONFIG.weighting, NOW)
    heard, fitted = {}, {}

    def recorded(name, into):
        keep = getattr(building, name)

        def record(user_items, features, *others, **options):
            into.update(options, features=features)
            return keep(user_items, features, *others, **options)

        monkeypatch.setattr(building, name, record)

    recorded("choose_recipe", heard)
    recorded("fit_table", fitted)
    build(snapshot, graph, CONFIG, quiet)
    events, width = snapshot.events, len(snapshot.items)
    for way in heard["held"]:
        parts = [way.select, heard["unseen"], *([way.later] if way.later is not None else [])]
        out = np.concatenate([keys_of(part) for part in parts])
        held = np.isin(keys(events.user, events.item, width), out)
        assert (held & (events.tag >= 0)).sum() >= 10
        rest = {part.name: getattr(events, part.name)[~held] for part in fields(events)}
        cut = weigh_tags(replace(snapshot, events=type(events)(**rest)), CONFIG.weighting)
        chosen_by, fitted_by = (
            next(feature.rows for feature in features if feature.name == "tags")
            for features in (way.features, fitted["features"])
        )
        assert abs(cut.T - chosen_by).max() < 1e-6
        assert abs(graph.item_tags.T - fitted_by).max() < 1e-6
        assert abs(chosen_by - fitted_by).max() > 0.1
