"""What can be set of a refresh reaches it: tried through the command, with the preset graph."""

import json

import numpy as np
import pytest

from api.cli import refresh as command
from api.cli.main import run
from graph.errors import InputError
from loaders.synthetic import generate
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release

SEEDS = ("--preset", "graph", "--threads", "1", "--seed", "3")


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """A table of 600 events and one of tags."""
    from graph.stores.embedded_store import EmbeddedStore

    folder = tmp_path_factory.mktemp("catalogue")
    store = EmbeddedStore(Home(folder).create().store)
    for batch in generate(600, seed=2).batches():
        store.apply(batch)
    store.close()
    return folder


@pytest.fixture
def home(catalogue, tmp_path):
    import shutil

    return Home(shutil.copytree(catalogue, tmp_path / "home"))


def refreshed(home, monkeypatch, *words, code=0, **settings):
    for name, value in settings.items():
        monkeypatch.setenv(f"NICHEGRAPH_{name.upper()}", value)
    monkeypatch.setattr(command, "now", lambda: 1_760_000_000)
    assert run(["--home", str(home.folder), "refresh", *(words or SEEDS)]) == code
    return open_release(home.releases / current(home)) if code == 0 else None


def files(release):
    """Sums of all files but the indexes, which hold the same vectors."""
    return {name: facts["sha256"] for name, facts in release.manifest["files"].items()}


def test_one_thread_gives_the_same_bytes_also_after_a_kill(home, catalogue, tmp_path, monkeypatch):
    """Stopped in the middle of training, the second run goes on from the checkpoint."""
    import shutil

    first = refreshed(home, monkeypatch)
    assert first.manifest["config"]["threads"] == 1
    other = Home(shutil.copytree(catalogue, tmp_path / "other"))
    messages = []

    def stopped(text):
        messages.append(text)
        if text.startswith("gnn: "):
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "step", stopped)
    refreshed(other, monkeypatch, code=130)
    assert [path.name for path in other.unfinished.glob("*/*/training/*")] == [
        "gnn-part.checkpoint"
    ]
    monkeypatch.setattr(command, "step", messages.append)
    second = refreshed(other, monkeypatch)
    assert [text for text in messages if "continuing it, if" in text]
    assert files(second) == files(first)
    assert not other.unfinished.exists()


def test_node2vec_begins_with_its_last_vectors(home, monkeypatch):
    """Refreshed again, nearly all neighbours stay; from noise, and another seed, fewer do."""
    refreshed(home, monkeypatch)
    again = refreshed(home, monkeypatch, *SEEDS[:-1], "4")
    stays = again.manifest["drift"]["vectors"]["node2vec"]["jaccard@10"]
    from recommender.learning import train

    monkeypatch.setattr(train, "networks_of", lambda parent, items: {})
    noise = refreshed(home, monkeypatch, *SEEDS[:-1], "5")
    moves = noise.manifest["drift"]["vectors"]["node2vec"]["jaccard@10"]
    assert stays > moves + 0.05


def test_engine_and_metapath_reach_node2vec(home, monkeypatch):
    first = refreshed(home, monkeypatch)
    engine = first.manifest["embedders"]["node2vec"]["config"]
    assert (engine["engine"], engine["metapath"]) == ("fast", [])
    second = refreshed(home, monkeypatch, node2vec_metapath="item tag item user")
    engine = second.manifest["embedders"]["node2vec"]["config"]
    assert (engine["engine"], engine["metapath"]) == ("fast", [1, 2, 1, 0])
    third = refreshed(home, monkeypatch, node2vec_metapath="", node2vec_engine="package")
    assert third.manifest["embedders"]["node2vec"]["config"]["engine"] == "package"
    assert np.isfinite(third.vectors["node2vec"]).all()
    assert third.vectors["node2vec"].any()


@pytest.mark.parametrize(
    ("settings", "output"),
    [
        ({"node2vec_metapath": "item genre"}, "'genre' is not one of user, item, tag"),
        ({"node2vec_metapath": "item tag", "node2vec_engine": "package"}, "metapaths"),
        ({"node2vec_engine": "slow"}, "node2vec_engine"),
        ({"refresh_threads": "0"}, "refresh_threads"),
    ],
)
def test_wrong_settings_are_told(home, monkeypatch, capsys, settings, output):
    refreshed(home, monkeypatch, *SEEDS[:2], code=1, **settings)
    assert output in capsys.readouterr().err


def test_threads_come_from_the_setting_unless_they_are_given(home, monkeypatch, capsys):
    words = ("--preset", "fast", "--json")
    refreshed(home, monkeypatch, *words, refresh_threads="3")
    assert json.loads(capsys.readouterr().out)["config"]["threads"] == 3
    refreshed(home, monkeypatch, *words, "--threads", "1")
    assert json.loads(capsys.readouterr().out)["config"]["threads"] == 1


def test_evaluate_learns_by_the_same_settings(home, monkeypatch, capsys):
    """A path that no refresh would take is refused here, too; threads are those of the setting."""
    words = ["--home", str(home.folder), "evaluate", "--preset", "graph"]
    monkeypatch.setenv("NICHEGRAPH_NODE2VEC_METAPATH", "item genre")
    assert run(words) == 1
    assert "'genre' is not one of user, item, tag" in capsys.readouterr().err
    monkeypatch.delenv("NICHEGRAPH_NODE2VEC_METAPATH")
    monkeypatch.setenv("NICHEGRAPH_REFRESH_THREADS", "3")
    configs = []

    def recorded(store, config, folder, **_):
        configs.append(config)
        raise InputError("enough")

    monkeypatch.setattr("recommender.evaluation.evaluate.evaluate_store", recorded)
    assert run(words) == 1
    assert [config.threads for config in configs] == [3]
