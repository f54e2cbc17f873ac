"""What holds for who has not said: in lists, in events, in learning; and who is in no count."""

import re
from dataclasses import replace

import numpy as np
import pytest

from api.app import create_app
from api.settings import load_settings
from graph.errors import SettingError
from graph.model import table
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.facts import CONSENT, fact
from recommender.inbox.journal import Journal
from recommender.learning.build import RefreshConfig
from recommender.learning.warm import configuration_changed
from recommender.overlay.overlay import Overlay
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.serving.live import Live
from recommender.serving.neighbourhood import spans
from recommender.serving.recommend import Recommender

NOW = 1_760_000_000


def test_the_setting_names_purposes(tmp_path):
    assert load_settings(tmp_path).agreed == {"personalise", "train", "track"}
    assert load_settings(tmp_path, consent_default="none").agreed == set()
    assert load_settings(tmp_path, consent_default="train,track").agreed == {"train", "track"}
    with pytest.raises(SettingError, match=r"'trian' is not a purpose; choose from: personalise"):
        load_settings(tmp_path, consent_default="trian")


def test_only_who_said_yes_is_learned_from_where_nobody_agrees_by_default(tmp_path, recommender):
    store = EmbeddedStore(tmp_path / "store.sqlite")
    events = [{"user": user, "item": "x", "kind": "view"} for user in ("ann", "bob", "cem")]
    users = [{"id": "ann", "consent": True}, {"id": "bob", "consent": False}, {"id": "dan"}]
    store.apply({"events": table("events", events), "users": table("users", users)})
    by_default = take_snapshot(store)
    strict = take_snapshot(store, consent=False)
    store.close()
    assert list(strict.users) == ["ann", "bob", "cem", "dan"]
    assert by_default.user_consents.tolist() == [True, False, True, True]
    assert strict.user_consents.tolist() == [True, False, False, False]
    assert (
        strict.user_stated.tolist() == by_default.user_stated.tolist() == [True, True, False, False]
    )
    assert strict.fingerprint != by_default.fingerprint  # so a refresh is due
    config = RefreshConfig(preset="fast", threads=1)
    assert configuration_changed(recommender.release, config) == []
    assert configuration_changed(recommender.release, replace(config, consent=False)) == ["consent"]


def served_by(serving, user):
    return serving.recommend([Request(user=user)], now=NOW)[0].served_by


def test_lists_are_personal_only_for_who_said_yes_where_nobody_agrees_by_default(
    planted_home, planted, recommender, tmp_path
):
    first, second, third = planted.answers.users[:3]
    journal = Journal(tmp_path / "journal.sqlite")
    live = Live(planted_home, journal=journal, agreed=frozenset({"train", "track"}))
    assert served_by(live.recommender(), first) == "popular"
    before = live.recommender().overlay.version([first])
    journal.append(
        [
            fact(CONSENT, {"id": first, "consent": {"personalise": True}}),
            fact(CONSENT, {"id": second, "consent": {"train": True}}),
            fact("users", {"id": third, "consent": True}),
        ],
        now=NOW,
    )
    live._checked = float("-inf")
    assert served_by(live.recommender(), first) == "history"
    assert served_by(live.recommender(), second) == "popular"
    assert served_by(live.recommender(), third) == "history"
    assert live.recommender().overlay.version([first]) != before
    assert recommender.overlay.version([first]) != before
    journal.close()
    # A load said it before the release was made.
    release = recommender.release
    stated = np.zeros(len(release.users), np.bool_)
    stated[release.users.row(first)] = True
    loaded = replace(release, arrays={**release.arrays, "stated": stated})
    serving = Recommender(loaded, Overlay.over(loaded, agreed=frozenset()))
    assert served_by(serving, first) == "history"
    assert served_by(serving, second) == "popular"


def test_events_of_who_has_not_said_are_refused_where_tracking_is_no_default(
    planted_home, tmp_path
):
    home = Home(tmp_path).create()
    settings = load_settings(home.folder, consent_default="personalise, train")
    live = Live(planted_home, journal=Journal(home.inbox), agreed=settings.agreed)
    client = create_app(settings, live).test_client()
    event = {"user": "new here", "item": "x"}
    answer = client.post("/v1/events", json=event)
    assert answer.status_code == 400
    assert "does not agree to be tracked" in answer.json["detail"]
    assert client.get("/v1/users/new here").status_code == 404
    client.put("/v1/users/new here/consent", json={"track": True})
    assert client.post("/v1/events", json=event).status_code == 202
    assert client.get("/v1/users/new here").json["consent"] == {
        "personalise": True, "train": True, "track": True,
    }  # fmt: skip
    client.put("/v1/users/another/consent", json={"train": True})
    assert client.get("/v1/users/another").json["consent"]["track"] is False
    assert client.post("/v1/events", json=event | {"user": "another"}).status_code == 400
    assert client.post("/v1/items", json={"items": [{"id": "i"}]}).json["taken"] == 1


def test_who_opted_out_of_anything_is_in_no_count_of_people_at_once(
    planted_home, planted, recommender, tmp_path
):
    """Beside the rows of who chose what: every number in a reason is that of the others."""
    release = recommender.release
    journal = Journal(tmp_path / "journal.sqlite")
    live = Live(planted_home, journal=journal)
    gone = planted.answers.users[::3]
    purposes = ("personalise", "train", "track")
    journal.append(
        [
            fact(CONSENT, {"id": user, "consent": {purposes[number % 3]: False}})
            for number, user in enumerate(gone)
        ],
        now=NOW,
    )
    serving = live.recommender()
    rows = np.sort(release.users.rows(gone))
    np.testing.assert_array_equal(serving.overlay.uncounted, rows[rows >= 0])
    numbers = 0
    for user in planted.answers.users[1:60:3]:
        asking = release.users.row(user)
        for entry in serving.recommend([Request(user=user, n=40)], now=NOW)[0].items:
            item = release.items.row(entry.item)
            for reason in entry.reasons:
                counted = re.search(r"which (\d+) people choose", reason.text)
                if counted is None:
                    continue
                near = release.item_users.of(release.items.row(reason.because))
                both = set(near.tolist()) & set(release.item_users.of(item).tolist())
                assert int(counted[1]) == len(both - set(rows.tolist()) - {asking})
                numbers += len(both & set(rows.tolist())) > 0
    assert numbers > 20
    journal.append([fact(CONSENT, {"id": gone[0], "consent": {"personalise": True}})], now=NOW)
    assert release.users.row(gone[0]) not in live.recommender().overlay.uncounted
    journal.close()


def test_the_picture_of_an_items_popularity_leaves_them_out(recommender):
    release = recommender.release
    item = int(np.argmax(np.diff(release.item_users.indptr)))
    owners = np.repeat(np.arange(len(release.users)), np.diff(release.histories.indptr))
    of_item = np.flatnonzero(release.histories.indices == item)
    assert len(of_item) >= 50
    times = np.zeros(len(owners), np.int64)
    times[of_item] = NOW + np.arange(len(of_item))
    timed = replace(release, arrays={**release.arrays, "histories.at": times})
    nobody = np.zeros(0, np.int32)
    assert sum(span["people"] for span in spans(timed, item, nobody)) == len(of_item)
    left_out = np.sort(owners[of_item][:5]).astype(np.int32)
    assert sum(span["people"] for span in spans(timed, item, left_out)) == len(of_item) - 5
    assert spans(timed, item, np.sort(owners[of_item][30:]).astype(np.int32)) == []
