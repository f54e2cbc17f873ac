"""Ready-made questions, reasons as Cypher and pictures work on the graph as it is."""

import random
import re

import pytest
import small_world

from graph.errors import InputError, NotFound, QueryRefused
from graph.explore.console import Console, Target
from graph.explore.drawing import _label, _letters, cut, draw, known_fonts, parts
from graph.explore.questions import filled, question, questions
from graph.explore.why_cypher import (
    through_people,
    through_relation,
    through_tag,
    through_written_tag,
)
from graph.findings import save_findings
from graph.stores.embedded_store import EmbeddedStore

QUESTIONS = questions()


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    store = EmbeddedStore(home / "store.sqlite")
    store.apply(small_world.batch())
    store.close()
    save_findings(small_world.findings(), home / "explore")
    console = Console(Target(str(home / "store.sqlite")), home / "explore")
    yield console
    console.close()


def test_there_are_enough_questions_and_each_says_what_it_is():
    assert len(QUESTIONS) >= 25
    for listed_question in QUESTIONS.values():
        assert listed_question.title
        assert listed_question.sentence.endswith(".")
        assert all(f"${name}" in listed_question.query for name in listed_question.parameters), (
            listed_question.name
        )


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_every_question_is_answered_with_its_examples(console, name):
    listed_question = QUESTIONS[name]
    result = console.run(listed_question.query, listed_question.parameters, privacy=True)
    assert result.rows
    assert not result.truncated
    assert (
        any("path" in row[0] for row in result.rows if isinstance(row[0], dict))
        == listed_question.picture
    )


def test_answers_are_right_by_hand(console):
    """Orphans, lonely tags and sizes are planted; hubs are counted from the batch."""

    def ask(name, **given):
        chosen = question(name)
        return console.run(chosen.query, chosen.parameters | given, privacy=True).rows

    assert [row[0] for row in ask("orphans")] == ["item-78", "item-79"]
    assert {row[1] for row in ask("lonely-tags")} == {"lonely-78", "lonely-79"}
    assert sorted(ask("segments")) == [["s0", 24], ["s1", 24]]
    assert ask("items-in-several-domains") == [["item-05", "Title 5", 2]]
    events = small_world.batch()["events"].to_pylist()
    people: dict[str, set[str]] = {}
    for event in events:
        people.setdefault(event["item"], set()).add(event["user"])
    expected = sorted(((-len(users), item) for item, users in people.items()))[:20]
    assert [(-row[2], row[0]) for row in ask("hubs")] == expected
    rising = {row[0]: row[1:] for row in ask("rising-tags", since=small_world.START)}["rising"]
    assert rising == [sum(event["tag"] == "rising" for event in events), 0]


def test_parameters_are_read_in_the_type_of_their_example():
    assert filled(question("hubs"), {"limit": "3"}) == {"limit": 3}
    with pytest.raises(InputError, match="whole number"):
        filled(question("hubs"), {"limit": "three"})
    with pytest.raises(InputError, match="limit"):
        filled(question("hubs"), {"size": "3"})
    with pytest.raises(NotFound, match="orphans"):
        question("nothing")


def expected_reasons(count):
    """Random (user, because, item) with what connects the two, from the batch alone."""
    batch = {name: rows.to_pylist() for name, rows in small_world.batch().items()}
    touched, tags, written = {}, {}, {}
    for event in batch["events"]:
        touched.setdefault(event["item"], set()).add(event["user"])
        if event["tag"]:
            written.setdefault((event["item"], event["tag"]), set()).add(event["user"])
    for row in batch["item_tags"]:
        tags.setdefault(row["item"], set()).add((row["category"], row["tag"]))
    related = {(row["source"], row["target"]) for row in batch["item_relations"]}
    draw_one = random.Random(3)
    events = batch["events"]
    for _ in range(count):
        event = draw_one.choice(events)
        item = draw_one.choice([i for i in touched if i != event["item"]])
        yield event["user"], event["item"], item, touched, tags, written, related


def check_reasons(run, count):
    """Run the Cypher of `count` random reasons through `run(query, parameters)` -> rows."""
    links = [(event["user"], event["item"]) for event in small_world.batch()["events"].to_pylist()]
    for user, because, item, touched, tags, written, related in expected_reasons(count):
        shared = {name for _, name in tags[because] & tags[item]} or {"noir"}
        tag = min(shared)
        rows = run(*through_tag(user, because, tag, item))
        categories = {category for category, name in tags[because] & tags[item] if name == tag}
        assert len(rows) == links.count((user, because)) * len(categories)
        for (path,) in rows:
            names = [
                part["properties"].get("id", part["properties"].get("name"))
                for part in path["path"][::2]
            ]
            assert names == [user, because, tag, item]
        others = (touched[because] & touched[item]) - {user}
        rows = run(*through_people(user, because, item))
        assert rows == ([[because, item, len(others)]] if others else [])
        rows = run(*through_relation(user, because, item))
        between = ((because, item) in related) + ((item, because) in related)
        assert len(rows) == links.count((user, because)) * between
        for word in {word for name, word in written if name == because}:
            there, here = written[because, word], written.get((item, word), set())
            rows = run(*through_written_tag(None, because, word, item))
            assert rows == [[because, word, item, len(there), len(here)]]


def test_the_cypher_of_a_reason_returns_the_paths_that_were_shown(console):
    """200 random reasons, counted from the batch alone."""
    check_reasons(lambda query, given: console.run(query, given, privacy=True).rows, 200)


def test_a_session_has_reasons_without_a_user(console):
    query, given = through_tag(None, "item-00", "shared", "item-21")
    (path,) = console.run(query, given, privacy=True).rows[0]
    assert [part["label"] for part in path["path"][::2]] == ["Item", "Tag", "Item"]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_picture_shows_every_node_and_is_the_same_again(console, tmp_path, ending):
    chosen = question("neighbourhood")
    rows = console.run(chosen.query, chosen.parameters, privacy=True).rows
    nodes, links = parts(rows)
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    assert draw(rows, first) == draw(rows, second) == len(nodes)
    assert first.read_bytes() == second.read_bytes()
    assert links
    if ending == "svg":
        assert "user-01" in first.read_text()


def test_titles_with_markup_are_drawn_as_text(tmp_path):
    node = {"node": "1", "label": "Item", "properties": {"title": "$\\frac{<b>&\x1b["}}
    assert draw([[node]], tmp_path / "x.svg") == 1
    assert "<b>" not in (tmp_path / "x.svg").read_text()


def test_relationships_are_drawn_with_their_types_and_each_pair_once(tmp_path):
    nodes = [{"node": n, "label": "Item", "properties": {"id": n}} for n in "abc"]
    links = [("a", "b", "NEAR"), ("a", "b", "NEAR"), ("a", "b", "RELATED"), ("c", "b", "NEAR")]
    rows = [
        {"relationship": str(number), "from": source, "to": target, "type": kind, "properties": {}}
        for number, (source, target, kind) in enumerate(links)
    ]
    draw([nodes, rows], tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    assert text.count(">NEAR ×2, RELATED<") == 1
    assert text.count(">NEAR<") == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Everybody's favourites No. 1", "Everybody's favourites No. 1"),  # narrow letters
        ("MWMWMWMWMWMWMWMWMWMWMWMWMW", "MWMWMWMWMWMWMWMWMW…"),  # 26 letters of 1.4
        ("日本の作曲家による室内楽作品集", "日本の作曲家による室内楽作…"),  # 13 letters of 2
        ("e\u0301" * 26, "e\u0301" * 26),  # an accent has no breadth
    ],
)
def test_labels_are_cut_by_their_breadth(text, shown):
    assert cut(text, 26.0) == shown


def test_a_title_in_letters_that_no_font_has_gives_way_to_the_id(tmp_path):
    """In a PNG; who looks at an SVG has fonts of their own."""
    node = {
        "node": "1",
        "label": "Item",
        "properties": {"title": "\U00012000", "id": "cuneiform-1"},
    }
    rest = {"node": "1", "label": "Item", "properties": {"id": "cuneiform-1"}}
    draw([[node]], tmp_path / "a.png")
    draw([[rest]], tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    draw([[node]], tmp_path / "a.svg")
    assert "\U00012000" in (tmp_path / "a.svg").read_text()


def test_titles_of_east_asia_are_drawn_where_a_font_has_their_letters(tmp_path):
    """In a PNG; the font may have been installed after matplotlib made its list of fonts."""
    if not any("CJK" in name for name in known_fonts()):
        pytest.skip("no font of East Asia here; Debian has one as fonts-noto-cjk")
    for title in ("紅樓夢與詩", "源氏物語 ひらがな カタカナ", "춘향전 이야기"):
        node = {"node": "1", "label": "Item", "properties": {"title": title, "id": "id-1"}}
        assert _label(node, _letters()) == title
        draw([[node]], tmp_path / "title.png")
        draw([[node | {"properties": {"id": "id-1"}}]], tmp_path / "id.png")
        assert (tmp_path / "title.png").read_bytes() != (tmp_path / "id.png").read_bytes()


def test_a_neighbourhood_is_of_different_items(console):
    """As many as the limit allows, those touched most first; one path to each."""
    chosen = question("neighbourhood")
    rows = console.run(chosen.query, chosen.parameters | {"limit": 3}, privacy=True).rows
    nodes, _ = parts(rows)
    items = {n["properties"]["id"] for n in nodes.values() if n["label"] == "Item"}
    events = [
        e["item"] for e in small_world.batch()["events"].to_pylist() if e["user"] == "user-01"
    ]
    most = sorted(set(events), key=lambda item: (-events.count(item), item))[:3]
    assert items == set(most)
    assert {n["label"] for n in nodes.values()} == {"User", "Item", "Tag"}


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(InputError, match="svg"):
        draw([[1]], tmp_path / "x.gif")
    with pytest.raises(InputError, match="no nodes"):
        draw([[1]], tmp_path / "x.svg")
    many = [[{"node": str(n), "label": "Item", "properties": {}}] for n in range(151)]
    with pytest.raises(InputError, match="151"):
        draw(many, tmp_path / "x.svg")


# ── queries inside queries ───────────────────────────────────────────────────────────────


def items_of():
    """User -> the items of the small world that they did something to."""
    items: dict[str, set[str]] = {}
    for event in small_world.batch()["events"].to_pylist():
        items.setdefault(event["user"], set()).add(event["item"])
    return items


def test_what_means_the_same_in_another_way_is_answered(console):
    """A leading CALL, and the size of a list of a pattern, counted by hand."""
    counts = (
        "CALL { MATCH (i:Item) RETURN count(i) AS items } MATCH (u:User) RETURN items, count(u)"
    )
    tables = small_world.batch()
    rows = console.run(counts, {}, privacy=True).rows
    assert rows == [[len(tables["items"]), len(tables["users"])]]
    events = tables["events"].to_pylist()
    size = (
        "MATCH (u:User) RETURN u.id, size([(u)-[:INTERACTED]->(i:Item) WHERE i.id <> $no | i]) AS n"
    )
    result = console.run(size, {"no": events[0]["item"]}, privacy=True)
    assert result.columns == ["u.id", "n"]
    assert {user: n for user, n in result.rows if n} == {
        user: n
        for user in items_of()
        if (n := sum(e["user"] == user and e["item"] != events[0]["item"] for e in events))
    }


@pytest.mark.parametrize(
    ("query", "instead"),
    [
        (
            "MATCH (u:User) RETURN u.id, [(u)-[:INTERACTED]->(i:Item) | i.id] AS items",
            "MATCH (u:User) {} RETURN u.id, items",
        ),
        (
            (
                "MATCH (x:Tag) WITH count(x) AS tags MATCH (u:User) "
                "CALL { WITH u MATCH (u)-[:INTERACTED]->(i) RETURN collect(i.id) AS items } "
                "RETURN u.id, items"
            ),
            "MATCH (x:Tag) WITH count(x) AS tags MATCH (u:User) {} RETURN u.id, items",
        ),
    ],
)
def test_what_is_refused_is_told_with_the_way_for_just_that_query(console, query, instead):
    with pytest.raises(QueryRefused) as error:
        console.run(query, {}, privacy=True)
    way = re.search(r"write (OPTIONAL MATCH .*?) (?:before|for it)", str(error.value))[1]
    rows = console.run(instead.format(way), {}, privacy=True).rows
    assert {user: set(items) for user, items in rows if items} == items_of()


def test_a_union_inside_a_call_is_asked_by_itself(console):
    query = (
        "CALL { MATCH (i:Item) RETURN i.id AS x UNION MATCH (t:Tag) RETURN t.name AS x } RETURN x"
    )
    with pytest.raises(QueryRefused, match="as a query of its own"):
        console.run(query, {}, privacy=True)
