"""A damaged release becomes current while others are asked for lists: the last good one answers."""

import random
import shutil
from pathlib import Path

import pytest

from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.releases.publishing import CURRENT, current
from recommender.serving.live import Live
from tests.faults.test_publishing_killed import MUTATIONS
from tests.test_api_worker import PATIENCE, free_port, get, until
from tests.test_ending import start

NOW = 1_760_000_000
WORKERS = 2
PROMISED = 2.0  # seconds after which the last good release serves


@pytest.fixture
def home(planted_home, tmp_path):
    return Home(shutil.copytree(planted_home.folder, tmp_path / "home"))


def publish_mutated(home, mutate, number):
    """A copy of the good release, damaged, is what CURRENT names; gives its name."""
    draws = random.Random(number)
    bad = home.releases / f"{number:06d}-{'b' * 12}"
    shutil.copytree(home.releases / current(home), bad)
    changes = {}
    while not any(content != path.read_bytes() for path, content in changes.items()):
        changes = mutate(bad, draws)
    for path, content in changes.items():
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    (home.releases / CURRENT).write_text(bad.name + "\n")
    return bad.name


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_the_last_good_release_serves_on_and_the_damage_is_named(home, mutate):
    """By the clock of the program, so that a busy machine does not matter."""
    good, seconds, events = current(home), [0.0], []
    live = Live(home, clock=lambda: seconds[0], tell=lambda event, **_: events.append(event))

    def answered():
        answer = live.recommender().recommend([Request(user="reader-1", n=10)], now=NOW)[0]
        return answer.release, [item.item for item in answer.items]

    before = answered()
    assert before[0] == good
    assert len(before[1]) == 10
    for number in (901, 902):
        name = publish_mutated(home, mutate, number)
        for _ in range(2):  # noticed, and then known
            seconds[0] += PROMISED / 2
            assert answered() == before
            assert name in live.problem
        (home.releases / CURRENT).write_text(good + "\n")
        seconds[0] += PROMISED
        assert live.recommender().release.name == good
        assert live.problem is None
    assert events.count("release refused") == 2


def workers_of(server):
    return sorted(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split())


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see the workers")
def test_no_worker_of_a_server_dies_of_a_damaged_release(home, tmp_path):
    """One of each kind is refused by both workers; meanwhile the good one answers."""
    good, port, log = current(home), free_port(), tmp_path / "log"

    def refused_by_both(name):
        answer = get(port, "/v1/users/reader-1/recommendations?n=5")
        assert (answer["release"], len(answer["items"])) == (good, 5)
        return log.read_text().count(f"release refused release='{name}'") == WORKERS

    with log.open("w") as output:
        server = start(home.folder, port, {}, workers=WORKERS, output=output)
    try:
        until(lambda: log.read_text().count("started release=") == WORKERS)
        workers = workers_of(server)
        assert len(workers) >= WORKERS
        for number, mutate in enumerate(MUTATIONS, 901):
            name = publish_mutated(home, mutate, number)
            until(lambda name=name: refused_by_both(name))
            (home.releases / CURRENT).write_text(good + "\n")
        until(lambda: all(not get(port, "/ready")["problem"] for _ in range(6)))
        assert workers_of(server) == workers
    finally:
        server.terminate()
        server.wait(PATIENCE)
