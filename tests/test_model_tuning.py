"""Tuning the model: what surely helps others is written, a stopped search goes on."""

import json
import re
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from api.cli.main import run
from embeddings.item_item.recipe import RIDGE, Recipe, Scorer
from embeddings.item_item.table_settings import TableSettings
from graph.errors import InputError, SettingError
from graph.model import NO_TIME
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from recommender.evaluation import model_tuning
from recommender.evaluation.model_trial import recipe_with, trial_of
from recommender.evaluation.model_tuning import LADDERS, start_of, tune_model
from recommender.evaluation.truth import cut
from recommender.learning.build import Choice, RefreshConfig
from recommender.learning.model_file import load_table_settings, model_toml
from recommender.learning.split import GATE, pair_parts, relevant_pairs
from recommender.releases.home import Home
from tests.conftest import NOW

CONFIG = RefreshConfig(preset="fast", threads=1)
RECIPE = Recipe(
    ((RIDGE, 1.0), (Scorer("spectral", 0.5, 0.5, 0.5, 256), 0.3)), (1.0,), 0.0, 200, 200
)


@pytest.fixture(scope="module")
def snapshot(planted, tmp_path_factory):
    """The planted catalogue of 3,000 events."""
    with closing(EmbeddedStore(tmp_path_factory.mktemp("tuning") / "store.sqlite")) as store:
        for batch in planted.batches():
            store.apply(batch)
        return take_snapshot(store)


def pairs_in(matrix):
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return set(zip(rows.tolist(), matrix.indices.tolist(), strict=True))


@pytest.mark.parametrize(("split", "folds"), [("folds", 3), ("time", 1)])
def test_folds_hold_back_other_pairs_each_and_never_those_of_the_gate(snapshot, split, folds):
    graph = weigh(snapshot, CONFIG.weighting, NOW)
    trial = trial_of(snapshot, graph, Choice(RECIPE), CONFIG, split=split, folds=3)
    assert len(trial.folds) == folds
    pairs = relevant_pairs(snapshot, graph.user_items, CONFIG.seed)
    gate = pair_parts(pairs) == GATE
    gate = set(zip(pairs.users[gate].tolist(), pairs.items[gate].tolist(), strict=True))
    everything = pairs_in(graph.user_items)
    held = [pairs_in(fold.held) for fold in trial.folds]
    for fold, own in zip(trial.folds, held, strict=True):
        assert own
        assert not own & gate
        assert pairs_in(fold.fit) == everything - own - gate
    assert len(set.union(*held)) == sum(map(len, held))


def undated(snapshot, share):
    """The same with so much of the events without a time."""
    at = snapshot.events.at.copy()
    at[: int(share * len(at))] = NO_TIME
    return replace(snapshot, events=replace(snapshot.events, at=at))


@pytest.mark.parametrize(
    ("share", "split"), [(0.0, "time"), (0.05, "time"), (0.5, "folds"), (1.0, "folds")]
)
def test_what_comes_last_judges_where_most_pairs_have_a_time(snapshot, share, split):
    data = undated(snapshot, share)
    graph = weigh(data, CONFIG.weighting, NOW)
    trial = trial_of(data, graph, Choice(RECIPE), CONFIG, split=None, folds=2)
    assert (trial.split, len(trial.folds)) == (split, 1 if split == "time" else 2)
    if split == "folds":
        with pytest.raises(InputError, match="--split time: fewer than 90% of the pairs have a"):
            trial_of(data, graph, Choice(RECIPE), CONFIG, split="time", folds=2)


def test_nothing_is_cut_by_time_where_there_is_none(snapshot):
    with pytest.raises(InputError, match="--split time: no event has a time"):
        cut(undated(snapshot, 1.0), CONFIG, "time", now=NOW)
    assert cut(undated(snapshot, 1.0), CONFIG, None, now=NOW)[1].cut == "random"


def test_what_is_set_takes_the_place_of_what_was_chosen():
    settings = TableSettings(
        width=400, neighbours=300, penalty=3.0, dimensions=512, network_weight=0.5
    )
    network = Scorer("learned", model="gnn")
    exact = Scorer("exact", 0.2, 0.2, 30.0)
    base = replace(RECIPE, weights=((exact, 1.0), *RECIPE.weights[1:], (network, 0.15)))
    made = recipe_with(base, settings)
    assert made.weights == (
        (replace(exact, strength=3.0), 1.0),
        (replace(RECIPE.weights[1][0], dimensions=512), 0.3),
        (network, 0.5),
    )
    assert (made.support_width, made.table_width, made.ridge_width) == (400, 400, 300)
    assert recipe_with(base, TableSettings()) == base
    assert recipe_with(base, TableSettings(network_weight=0.0)).weights == base.weights[:2]
    assert start_of(base) == {
        "width": 200, "penalty": 30.0, "dimensions": 256, "network_weight": 0.15,
    }  # fmt: skip


class Planted:
    """Stands for the folds: width 400 helps everybody, dimensions only those who search."""

    def __init__(self, users, seed):
        self.users, self.folds, self.split = np.arange(users), ((),), "folds"
        self.searching = ~model_tuning.confirming(users, seed)
        self.noise = np.random.default_rng(1).normal(0.3, 0.05, users)

    def ndcg(self, recipe):
        spectral = recipe.weights[1][0].dimensions
        gain = 0.05 * (recipe.table_width == self.helps) + 0.02 * (recipe.table_width == 300)
        return self.noise + gain + 0.04 * (spectral == 1024) * self.searching

    helps = 400


@pytest.fixture
def planted_folds(monkeypatch):
    """Tuning with known answers: `Planted` in place of the folds, nothing is fitted."""
    monkeypatch.setattr(model_tuning, "choose", lambda *_: Choice(RECIPE))
    trial = Planted(200, 0)
    monkeypatch.setattr(model_tuning, "trial_of", lambda *_, **__: trial)
    return trial


def test_it_finds_what_helps_and_says_what_mattered(snapshot, planted_folds, tmp_path):
    tuned = tune_model(snapshot, CONFIG, tmp_path, now=NOW, trials=40)
    assert tuned.holds
    assert tuned.settings.width == 400
    assert tuned.gain.mean == pytest.approx(0.05)  # what only helped in the search adds nothing
    assert max(tuned.importance, key=tuned.importance.get) in ("width", "dimensions")
    assert tuned.importance["penalty"] < min(
        tuned.importance[name] for name in ("width", "dimensions")
    )
    assert tuned.tried[0][0] == start_of(RECIPE)
    assert sum(tuned.users) == 200


def test_a_gain_that_others_do_not_have_does_not_hold(snapshot, planted_folds, tmp_path):
    planted_folds.helps = 0
    planted_folds.noise -= 0.02  # no gain is left but that of the search
    planted_folds.ndcg = lambda recipe: (
        planted_folds.noise + 0.04 * (recipe.weights[1][0].dimensions == 1024)
        * planted_folds.searching
    )  # fmt: skip
    tuned = tune_model(snapshot, CONFIG, tmp_path, now=NOW, trials=40)
    assert tuned.settings.dimensions == 1024
    assert not tuned.holds
    assert tuned.to_json()["settings"] == {}


def test_a_stopped_search_goes_on_where_it_was(snapshot, planted_folds, tmp_path):
    lines = []

    def stopped(text):
        lines.append(text)
        if text.startswith("trial 5 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_model(snapshot, CONFIG, tmp_path, now=NOW, trials=12, say=stopped)
    (file,) = tmp_path.glob("*/tried.json")
    before = json.loads(file.read_text())
    assert len(before) == 5
    lines.clear()
    tuned = tune_model(snapshot, CONFIG, tmp_path, now=NOW, trials=12, say=lines.append)
    assert len(tuned.tried) == 12
    assert [list(entry) for entry in tuned.tried[:5]] == before
    assert [line.split(":")[0] for line in lines if line.startswith("trial")] == [
        f"trial {number} of 12" for number in range(6, 13)
    ]
    assert any(line.startswith("choice: ") for line in lines)
    # Other data, or another seed, is another search.
    tune_model(snapshot, replace(CONFIG, seed=1), tmp_path, now=NOW, trials=2)
    assert len(list(tmp_path.iterdir())) == 1
    assert not file.exists()


def test_time_ends_it_and_too_few_users_are_an_error(snapshot, planted_folds, tmp_path):
    tuned = tune_model(snapshot, CONFIG, tmp_path, now=NOW, trials=50, seconds=0.0)
    assert tuned.stopped_by_time
    assert len(tuned.tried) == 2
    planted_folds.users = planted_folds.users[:39]
    with pytest.raises(
        InputError, match="39 users have a held-back pair to judge by, 40 are needed"
    ):
        tune_model(snapshot, CONFIG, tmp_path, now=NOW, trials=1)


def test_the_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "model.toml"
    assert load_table_settings(path) == TableSettings()
    settings = TableSettings(width=400, penalty=0.5, dimensions=64, network_weight=0.0)
    path.write_text(model_toml(settings, "Learned.\nTogether: +0.01"))
    assert path.read_text().startswith("# Learned.\n# Together: +0.01\n\n[table]\nwidth = 400\n")
    assert load_table_settings(path) == settings
    for wrong, words in (
        ("[table]\nwidht = 3\n", "did you mean 'width'"),
        ("[ridge]\npenalty = 0\n", "model.toml: ridge.penalty is 0; it must be a number above 0"),
        ("[spectrum]\ndimensions = 4\n", "it must be a whole number from 8 to 4096"),
    ):
        path.write_text(wrong)
        with pytest.raises(SettingError, match=re.escape(words)):
            load_table_settings(path)


@pytest.mark.long
def test_every_rung_can_be_fitted(snapshot):
    graph = weigh(snapshot, CONFIG.weighting, NOW)
    trial = trial_of(snapshot, graph, Choice(RECIPE), CONFIG, split="folds", folds=1)
    for name, ladder in LADDERS.items():
        for value in ladder:
            made = recipe_with(RECIPE, TableSettings(**{name: value}))
            assert 0 < trial.ndcg(made).mean() <= 1


def test_the_command_writes_settings_only_if_they_hold(
    planted, snapshot, monkeypatch, tmp_path, capfd
):
    """From the store to the page on the planted catalogue, with three trials of its own folds."""
    monkeypatch.setattr(model_tuning, "choose", lambda *_: Choice(RECIPE))
    home = Home(tmp_path / "home").create()
    with closing(EmbeddedStore(home.store)) as store:
        for batch in planted.batches():
            store.apply(batch)
    words = ["--home", str(home.folder), "tune", "model", "--preset", "fast", "--folds", "1"]
    assert run([*words, "--trials", "3", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert len(report["trials"]) == 3
    assert report["split"] == "time"
    assert home.model.exists() == report["holds"]
    page = (home.reports / "tuning-model.html").read_text()
    assert page.count("<circle") == 3
    assert "judged by the last of their pairs" in " ".join(page.split())
    assert not re.search(r"<script|(src|href)=", page)

    assert report["start"] == start_of(RECIPE)
    trial = Planted(200, 1)
    monkeypatch.setattr(model_tuning, "trial_of", lambda *_, **__: trial)
    assert run([*words, "--seed", "1", "--trials", "40", "--replace"]) == 0
    assert "written to" in capfd.readouterr().out
    assert load_table_settings(home.model).width == 400
    assert run(words) == 1
    assert "add --replace" in capfd.readouterr().err
    assert run([*words, "--split", "weekly", "--replace"]) == 1
    assert "none of time, folds" in capfd.readouterr().err
