"""What was hidden or erased stays so, whichever release is served; what serves is swapped whole."""

import shutil
import threading
from dataclasses import replace

import pyarrow as pa
import pytest

from graph.errors import InputError
from graph.stores.embedded_store import EmbeddedStore
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.erasure import erase
from recommender.overlay.overlay import Overlay
from recommender.overlay.state import (
    begin_erasure,
    end_erasure,
    note_hidden,
    read_state,
)
from recommender.ranking import ranker
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.releases.publishing import activate
from recommender.serving.live import Live
from recommender.serving.recommend import Recommender

NOW = 1_760_000_000
FAST = RefreshConfig(preset="fast", threads=1)


@pytest.fixture
def home(planted_home, tmp_path):
    """A copy of the planted home, its store and its release, to be changed."""
    shutil.copytree(planted_home.folder, tmp_path / "home")
    return Home(tmp_path / "home")


def follow(home):
    """Asks a running server's recommender again and again, each time after it looked around."""
    ticks = iter(range(10**6))
    return Live(home, clock=lambda: next(ticks))


def shown(recommender, user=None, n=400):
    answer = recommender.recommend([Request(user=user, n=n, reasons=False)], now=NOW)[0]
    return [item.item for item in answer.items]


def with_store(home, action):
    store = EmbeddedStore(home.store)
    try:
        return action(store)
    finally:
        store.close()


def hide(home, item, hidden=True):
    table = pa.table({"id": [item], "hidden": [hidden]})
    with_store(home, lambda store: store.apply({"items": table}))
    with_store(home, lambda store: refresh(store, home, FAST, now=NOW))


def test_a_rollback_does_not_show_a_hidden_item_again(home):
    live = follow(home)
    item = shown(live.recommender())[0]
    hide(home, item)
    assert item not in shown(live.recommender())
    activate(home, "1")
    assert live.recommender().release.name.startswith("000001")
    assert item not in shown(live.recommender())
    assert item not in shown(Live(home).recommender())  # nor in a worker that starts now
    hide(home, item, hidden=False)
    assert item in shown(live.recommender())


def test_a_running_server_forgets_an_erased_user_and_so_does_a_rollback(home, planted):
    user, live = planted.answers.users[0], follow(home)
    assert live.recommender().recommend([Request(user=user)], now=NOW)[0].served_by == "history"
    with_store(home, lambda store: erase(store, home, user))
    for _ in range(2):
        answer = live.recommender().recommend([Request(user=user)], now=NOW)[0]
        assert answer.served_by == "popular"
        assert answer.notes == (f"the user {user!r} is not known yet",)
        with_store(home, lambda store: refresh(store, home, FAST, now=NOW))
        activate(home, "1")


def test_who_was_erased_can_come_back_as_a_new_person(home, planted):
    user, live = planted.answers.users[0], follow(home)
    with_store(home, lambda store: erase(store, home, user))
    items = planted.answers.items[:6]
    events = pa.table({"user": [user] * 6, "item": items, "kind": ["view"] * 6})
    with_store(home, lambda store: store.apply({"events": events}))
    with_store(home, lambda store: refresh(store, home, FAST, now=NOW))
    serving = live.recommender()
    assert serving.recommend([Request(user=user)], now=NOW)[0].served_by == "history"
    row = serving.release.users.row(user)
    own = serving.release.items.ids(serving.release.histories.of(row))
    assert set(own) <= set(items)
    activate(home, "1")  # the release that knows the old person still does not tell of them
    assert live.recommender().recommend([Request(user=user)], now=NOW)[0].served_by == "popular"


def test_an_erasure_ends_when_no_release_that_it_is_about_can_be_served(tmp_path):
    home = Home(tmp_path).create()
    begin_erasure(home, "alice")
    assert read_state(home).gone(10**9)  # under way: it holds for everything
    end_erasure(home, "alice", 50)
    assert read_state(home).gone(50)
    assert not read_state(home).gone(51)
    note_hidden(home, ["x"], oldest=50)
    assert read_state(home).gone(50)
    note_hidden(home, ["x"], oldest=51)
    assert read_state(home).erased == ()
    assert read_state(home).hidden == ("x",)


def test_no_id_of_an_erased_person_stands_in_the_home(home, planted):
    user = planted.answers.users[0]
    with_store(home, lambda store: erase(store, home, user))
    assert user.encode() not in home.state.read_bytes()


def test_a_state_that_cannot_be_read_is_told_and_the_last_one_holds(home, planted):
    """Nothing is served on a guess of who was erased."""
    user, live = planted.answers.users[0], follow(home)
    with_store(home, lambda store: erase(store, home, user))
    assert shown(live.recommender(), user) == shown(live.recommender())
    home.state.write_text("{", encoding="utf-8")
    assert shown(live.recommender(), user) == shown(live.recommender())
    assert "state.json cannot be read" in live.problem
    with pytest.raises(InputError, match=r"state\.json cannot be read"):
        read_state(home)


def test_a_request_is_answered_by_what_it_took_while_files_change(home, planted):
    """A profile that is removed meanwhile, rules that change: no request ever dies of it."""
    live, failures, done = follow(home), [], threading.Event()
    home.segments.write_text("[profiles.loud]\nlong_tail = 1.0\n", encoding="utf-8")
    user = planted.answers.users[0]

    def ask():
        while not done.is_set():
            serving = live.recommender()
            profile = "loud" if "loud" in serving.profiles.named else None
            try:
                serving.recommend([Request(user=user, profile=profile, n=3)], now=NOW)
            except Exception as error:  # whatever it is, it is what this test looks for
                failures.append(error)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for round_ in range(40):
        name = "loud" if round_ % 2 else "soft"
        home.segments.write_text(f"[profiles.{name}]\nlong_tail = 1.0\n", encoding="utf-8")
        home.rules.write_text(
            f'[[rule]]\nname = "{name}"\ndo = "pin"\nitems = ["{planted.answers.items[round_]}"]\n',
            encoding="utf-8",
        )
    done.set()
    for asker in askers:
        asker.join()
    assert not failures


def test_what_serves_does_not_change_when_something_newer_follows(recommender, planted):
    item = shown(recommender)[0]
    hidden = replace(recommender.overlay.state, hidden=(item,))
    newer = recommender.following(overlay=Overlay.over(recommender.release, hidden))
    assert item in shown(recommender)
    assert item not in shown(newer)
    assert newer.opened is recommender.opened


def test_one_broken_promise_costs_one_item_and_is_counted(recommender, planted, monkeypatch):
    """Where somebody counts and logs, up to 1,000 subjects do not fail for one item."""
    heard = []
    serving = Recommender(
        recommender.release, defect=lambda what, items: heard.append((what, items))
    )
    users = planted.answers.users[:5]
    before = [shown(serving, user, n=10) for user in users]
    bad = before[0][0]
    row = serving.release.items.row(bad)
    propose, alone = serving.opened.sources.propose, ranker.table_lists

    def open_to_all(subjects):
        """As if nothing were forbidden to the first subject."""
        masks = subjects.masks.copy()
        masks[:, row] = True
        return replace(subjects, masks=masks)

    def blind(name, subjects, tags, n):
        return propose(name, open_to_all(subjects), tags, n)

    def blind_alone(table, arrivals, subjects, *rest):
        return alone(table, arrivals, open_to_all(subjects), *rest)

    hidden = Overlay.over(serving.release, replace(serving.overlay.state, hidden=(bad,)))
    broken = serving.following(overlay=hidden)
    monkeypatch.setattr(broken.opened.sources, "propose", blind)
    monkeypatch.setattr(ranker, "table_lists", blind_alone)
    after = [shown(broken, user, n=10) for user in users]
    assert all(bad not in answer for answer in after)
    assert after[0] == before[0][1:]
    assert heard[0][0] == "a source proposed an item that the filter does not allow"
