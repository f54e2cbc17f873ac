"""A dropped release leaves nothing open, however often the release is swapped."""

import gc
import os
import shutil
from itertools import count
from pathlib import Path

import pytest

from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.ranking.request import Filter, Request
from recommender.releases.home import Home
from recommender.releases.publishing import activate, list_releases
from recommender.serving.live import Live
from recommender.serving.why import why

NOW = 1_760_000_000
OPEN = Path("/proc/self/fd")
RULES = """
[[rule]]
name = "boost"
do = "boost"
where = {}
[[rule]]
name = "hide"
do = "hide"
items = ["x"]
"""


@pytest.fixture
def home(planted_home, tmp_path):
    from graph.stores.embedded_store import EmbeddedStore

    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    store = EmbeddedStore(home.store)
    refresh(store, home, RefreshConfig(preset="fast", threads=1, seed=9), now=NOW)
    store.close()
    home.rules.write_text(RULES)
    return home


@pytest.mark.skipif(not OPEN.exists(), reason="needs /proc to count open files")
def test_files_stay_as_many_over_many_swaps(home, planted):
    """Also where Python collects no garbage: what is dropped is closed at once."""
    names = [release["name"] for release in list_releases(home)]
    seconds = count()
    live = Live(home, clock=lambda: next(seconds))
    users = planted.answers.users[:3]
    gc.collect()
    gc.disable()
    try:
        opened = []
        for swap in range(6):
            activate(home, names[swap % 2])
            recommender = live.recommender()
            assert recommender.release.name == names[swap % 2]
            requests = [Request(user=users[0]), Request(household=tuple(users)), Request(seed=1)]
            requests += [Request(filter=Filter(tags_none=("x",))), Request(interests=True)]
            recommender.recommend(requests, now=NOW)
            recommender.popular(3, now=NOW)
            why(recommender, users[0], planted.answers.items[0], now=NOW)
            opened.append(len(os.listdir(OPEN)))
    finally:
        gc.enable()
    assert len(set(opened)) == 1, opened
