"""What a refresh found is there to be explored, until a person is erased."""

import pyarrow as pa
import pytest
import small_world

from api.bootstrap import open_console
from api.cli.main import run
from api.settings import load_settings
from graph.findings import load_findings
from graph.stores.embedded_store import EmbeddedStore
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.state import read_state
from recommender.releases.findings import NEAREST, findings_of
from recommender.releases.home import Home


@pytest.fixture
def home(tmp_path):
    """The small world, its tags and domains included, learned from once."""
    home = Home(tmp_path / "home").create()
    store = EmbeddedStore(home.store)
    store.apply(small_world.batch())
    refresh(store, home, RefreshConfig(preset="fast", threads=1), now=small_world.START)
    store.close()
    return home


def test_the_nearest_items_are_those_of_the_table(recommender):
    release = recommender.release
    near = findings_of(release).near.to_pylist()
    neighbours = release.table.neighbours
    messages = {}
    for row in near:
        messages.setdefault(row["source"], []).append((row["target"], row["score"]))
    assert len(messages) > 0
    for source, result in messages.items():
        own = release.items.row(source)
        line = neighbours[own][release.table.scores[own] > 0]
        wanted = [item for item in release.items.ids(line) if item != source]
        assert [target for target, _ in result] == wanted[:NEAREST]
        scores = [score for _, score in result]
        assert scores == sorted(scores, reverse=True)


def test_every_grouped_user_is_in_one_segment(recommender):
    release = recommender.release
    rows = findings_of(release).segments.to_pylist()
    assert len({row["user"] for row in rows}) == len(rows)
    assert len(rows) == (release.arrays["segments.assigned"] >= 0).sum() > 0
    assert {row["segment"] for row in rows} <= set(release.manifest["segments"]["names"])


def test_a_refresh_makes_them_explorable(home):
    console = open_console(load_settings(home.folder))
    try:
        near = console.run("MATCH (:Item)-[n:NEAR]->(:Item) RETURN count(n)", {}, privacy=True)
        people = console.run(
            "MATCH (u:User)-[:IN_SEGMENT]->(:Segment) RETURN count(u)", {}, privacy=True
        )
    finally:
        console.close()
    assert near.rows[0][0] == load_findings(home.explore).near.num_rows > 0
    assert people.rows[0][0] == load_findings(home.explore).segments.num_rows


def test_erasing_deletes_the_copies_and_the_findings(home):
    console = open_console(load_settings(home.folder))
    query = "MATCH (u:User {id: $user}) RETURN count(u)"
    try:
        assert console.run(query, {"user": "user-01"}, privacy=True).rows == [[1]]
        assert run(["--home", str(home.folder), "erase", "user-01"]) == 0
        assert load_findings(home.explore) is None
        assert not [*home.explore.glob("**/*.lbug")]
        assert console.run(query, {"user": "user-01"}, privacy=True).rows == [[0]]
    finally:
        console.close()


def test_an_erased_id_is_kept_as_a_digest_of_its_normal_form(home):
    """Whatever it holds, it does not stand in the clear; both Unicode forms are one id."""
    store = EmbeddedStore(home.store)
    store.apply({"users": pa.table({"id": ["a\u2028b", "\u00e9"]})})
    store.close()
    assert run(["--home", str(home.folder), "erase", "a\u2028b"]) == 0
    assert run(["--home", str(home.folder), "erase", "e\u0301"]) == 0
    state = read_state(home)
    gone = state.gone(0)
    assert {state.digest("a\u2028b"), state.digest("\u00e9")} <= gone
    assert "a\u2028b" not in home.state.read_text(encoding="utf-8")


def test_only_a_server_is_written_back_to(home, capsys):
    assert run(["--home", str(home.folder), "refresh", "--write-back"]) == 1
    assert "--write-back" in capsys.readouterr().err
