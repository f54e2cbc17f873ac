"""A dropped release leaves nothing open, however often the release is swapped."""

import gc
import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event

import pytest

from graph.errors import ReleaseError
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.ranking.request import Filter, Request
from recommender.releases.home import Home
from recommender.releases.publishing import activate, list_releases, open_release
from recommender.serving.live import Live
from recommender.serving.recommend import Recommender
from recommender.serving.why import why

NOW = 1_760_000_000
OPEN, MAPS = Path("/proc/self/fd"), Path("/proc/self/maps")
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


@pytest.mark.skipif(not MAPS.exists(), reason="needs /proc to see what is mapped")
def test_a_release_that_is_still_being_copied_is_served_once_it_is_there(home, tmp_path):
    """Somebody copies a home file by file, the name of the current release first."""
    copy, current = Home(tmp_path / "copy").create(), (home.releases / "CURRENT").read_text()
    folder = copy.releases / current.strip()
    shutil.copytree(home.releases / current.strip(), folder)
    left_out = sorted(folder.glob("*.npy"))[3]
    whole = left_out.read_bytes()
    left_out.write_bytes(whole[: len(whole) // 2])
    (copy.releases / "CURRENT").write_text(current)
    ticks, heard = iter(range(10**7)), []
    live = Live(copy, clock=lambda: next(ticks), tell=lambda event, **_: heard.append(event))
    for _ in range(3):
        with pytest.raises(ReleaseError, match=left_out.name.split(".")[0]):
            live.recommender()
    assert heard == ["release refused"]  # opened once, not at every look
    left_out.write_bytes(whole)
    assert live.recommender().release.name == current.strip()
    assert live.problem is None


def test_under_load_each_answer_is_of_one_release_and_the_old_one_goes(home, planted):
    """Threads ask without a pause while the release changes; nothing fails, nothing is mixed."""
    names = [release["name"] for release in list_releases(home)]
    users = planted.answers.users[:8]
    expected = {}
    for name in names:
        served = Recommender(open_release(home.releases / name))
        made = served.recommend_json([Request(user=user) for user in users], now=NOW)
        expected[name] = dict(zip(users, made, strict=True))
    assert expected[names[0]] != expected[names[1]]
    del served
    home.rules.unlink()
    seconds = count()
    live = Live(home, clock=lambda: next(seconds))
    wrong, answered, ended = [], Counter(), Event()

    def ask(start):
        for number in count(start):
            if ended.is_set():
                return
            user = users[number % len(users)]
            serving = live.recommender()
            name = serving.release.name
            if serving.recommend_json([Request(user=user)], now=NOW)[0] != expected[name][user]:
                wrong.append((name, user))
            answered[name] += 1

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, start) for start in range(4)]
        for swap in range(10):
            wanted = names[swap % 2]
            before = answered[wanted]
            activate(home, wanted)
            while answered[wanted] < before + 20 and not any(done.done() for done in asking):
                ended.wait(0.001)
        ended.set()
        for done in asking:
            done.result()
    assert wrong == []
    assert min(answered.values()) >= 100
    gc.collect()
    mapped = {line.split("/releases/")[1].split("/")[0]
              for line in MAPS.read_text().splitlines() if f"{home.releases}/" in line}  # fmt: skip
    assert mapped == {live.recommender().release.name}
