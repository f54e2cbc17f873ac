"""What an answer says is so: pages that can be asked for, reasons that are there, all tags."""

import json

import pytest

from api.app import create_app
from api.cli.main import run
from api.settings import load_settings
from graph.model import table
from graph.stores.embedded_store import EmbeddedStore
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.serving.explain import _popular
from recommender.serving.live import Live

NOW = 1_760_000_000
CROWD = 2_050  # items that share a tag: more than are learned from


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Five people chose a and b and hid `hated`; nobody touched `alone`; `rare` is on a alone,
    `crowd` on a and 2,050 others that nobody touched."""
    home = Home(tmp_path_factory.mktemp("so")).create()
    store = EmbeddedStore(home.store)
    others = [f"other-{k:04}" for k in range(CROWD)]
    tags = [("a", "rare"), ("a", "crowd"), ("a", "pair"), ("b", "pair")]
    tags += [(other, "crowd") for other in others]
    events = [(f"p{n}", item, "like") for n in range(5) for item in "ab"]
    events += [(f"p{n}", "hated", "hide") for n in range(5)]
    store.apply(
        {
            "items": table("items", [{"id": i} for i in ("a", "b", "hated", "alone", *others)]),
            "item_tags": table(
                "item_tags",
                [{"item": i, "category": "tag", "tag": t, "weight": 1.0} for i, t in tags],
            ),
            "events": table("events", [{"user": u, "item": i, "kind": k} for u, i, k in events]),
        }
    )
    refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    store.close()
    return home


@pytest.fixture(scope="module")
def client(home):
    return create_app(load_settings(home.folder)).test_client()


@pytest.fixture(scope="module")
def planted_client(used_home):
    return create_app(load_settings(used_home.folder)).test_client()


# ── every `next` works ───────────────────────────────────────────────────────────────────


def ask(client, path, **query):
    if "body" in query:
        response = client.post(path, json=query["body"])
        assert response.status_code == 200, response.data
        return response.json["answers"][0] if "answers" in response.json else response.json
    response = client.get(path, query_string=query)
    assert response.status_code == 200, response.data
    return response.json


def ways(planted):
    """(path, its query or body) of every route that lists items, ten at a time."""
    user, item = planted.answers.users[0], planted.answers.items[0]
    tag = planted.answers.niches[0]
    subjects = (
        {"user": user},
        {"items": [item]},
        {"tags": [tag]},
        {"mix": [{"kind": "user", "name": user}, {"kind": "item", "name": item}]},
        {"household": planted.answers.users[:3]},
        {},
    )
    return [
        (f"/v1/users/{user}/recommendations", {}),
        (f"/v1/users/{user}/recommendations", {"filter": '{"not": {"items": ["x"]}}'}),
        (f"/v1/items/{item}/similar", {}),
        ("/v1/popular", {}),
        ("/v1/popular", {"without_tag": tag}),
        ("/v1/items/similar", {"body": {"title": "a", "related": [item]}}),
        *(("/v1/recommendations", {"body": {"subjects": [request]}}) for request in subjects),
    ]


def test_every_next_is_the_page_that_follows_or_null(planted_client, planted, recommender):
    """Three pages of ten are the first thirty of one list, where the list is not reranked."""
    tag = recommender.release.tags.id(0).split("\x1f")[1]
    for path, query in [*ways(planted), ("/v1/tags/items", {"name": tag})]:
        pages, cursor = [], None
        for _ in range(3):
            more = {} if cursor is None else {"cursor": cursor}
            if "body" not in query:
                answer = ask(planted_client, path, **query, **more, n=10)
            elif "subjects" in query["body"]:
                subject = query["body"]["subjects"][0] | more | {"n": 10}
                answer = ask(planted_client, path, body={"subjects": [subject]})
            else:
                answer = ask(planted_client, path, body=query["body"] | more | {"n": 10})
            pages.append([entry["item"] for entry in answer["items"]])
            cursor = answer["next"]
            if cursor is None:
                break
        shown = [item for page in pages for item in page]
        assert len(shown) == len(set(shown)) >= 10, path
        assert len(pages) > 1 or len(pages[0]) < 10, path
    assert ask(planted_client, "/v1/latest")["next"] is None  # there is one page


def test_pages_of_what_is_popular_are_one_list_cut(planted_client, planted):
    for path in ("/v1/popular", f"/v1/items/{planted.answers.items[0]}/similar"):
        whole = [entry["item"] for entry in ask(planted_client, path, n=20)["items"]]
        first = ask(planted_client, path, n=10)
        second = ask(planted_client, path, n=10, cursor=first["next"])
        assert [entry["item"] for entry in first["items"] + second["items"]] == whole


def test_the_command_line_takes_the_cursor_it_prints(used_home, planted, capsys):
    for words in (["recommend", planted.answers.users[0]], ["similar", planted.answers.items[0]]):
        pages, more = [], []
        for _ in range(2):
            arguments = ["--home", str(used_home.folder), *words, "-n", "5", "--json", *more]
            assert run(arguments) == 0
            document = json.loads(capsys.readouterr().out)
            pages.append({entry["item"] for entry in document["items"]})
            more = ["--cursor", document["next"]]
        assert not pages[0] & pages[1]


# ── reasons name only what is there ──────────────────────────────────────────────────────


def test_what_everybody_hid_or_nobody_touched_has_no_reason(home):
    recommender = Live(home).recommender()
    everything = len(recommender.release.items)
    for request in (Request(n=1000), Request(user="stranger", n=1000), Request(user="p1", n=1000)):
        answer = recommender.recommend([request], now=NOW)[0]
        shown = {entry.item: entry for entry in answer.items}
        for item, entry in shown.items():
            if item not in "ab":
                assert entry.reasons == (), item
        if request.user != "p1":
            assert [r.text for r in shown["a"].reasons] == ["popular with everyone"]
    assert everything == CROWD + 4


def test_popular_is_what_many_chose_and_a_few_are_called_so(tmp_path):
    """Sixty people in two domains; what fills a stranger's list tells how many chose it."""
    home = Home(tmp_path).create()
    store = EmbeddedStore(home.store)
    chosen = {"hit": 60, "liked": 25, "some": 4, "pair": 2, "lone": 1}
    of_few = {"top": 5, "own": 1}  # in a domain of which five people know
    events = [
        {"user": f"p{n:02}", "item": item, "kind": "like"}
        for item, people in (chosen | of_few).items()
        for n in range(people)
    ]
    domains = [{"item": item, "domain": "small", "weight": 1.0} for item in of_few]
    domains += [{"item": item, "domain": "large", "weight": 1.0} for item in chosen]
    store.apply({"events": table("events", events), "item_domains": table("item_domains", domains)})
    refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW, force=True)
    store.close()
    recommender = Live(home).recommender()

    def texts(answer):
        return {entry.item: reason.text for entry in answer.items for reason in entry.reasons}

    everyone = "popular with everyone"
    assert texts(recommender.popular(20, now=NOW)) == {
        "hit": everyone, "liked": everyone, "some": "chosen by 4 people",
        "top": "chosen by 5 people",
        "pair": "chosen by a few people", "lone": "chosen by somebody", "own": "chosen by somebody",
    }  # fmt: skip
    recommended = recommender.recommend([Request(user="stranger", n=20)], now=NOW)[0]
    assert texts(recommended)["lone"] == "chosen by somebody"
    release = recommender.release
    nobody = recommender.planner.subject(Request(), NOW)
    in_domain = {
        item: _popular(release, nobody, release.items.row(item), "small")[0].text for item in of_few
    }
    assert in_domain == {"top": "popular in small", "own": "chosen by somebody"}


@pytest.mark.parametrize("item", ["hated", "alone"])
def test_why_says_that_nothing_speaks_for_an_item(client, home, item, capsys):
    explanation = client.get(f"/v1/users/stranger/recommendations/{item}/why").json
    assert explanation["reasons"] == explanation["drawing"] == []
    assert explanation["cypher"] is None
    assert run(["--home", str(home.folder), "explain", "stranger", item]) == 0
    assert "nothing we know speaks for it" in capsys.readouterr().out


def test_people_who_chose_both_are_named_only_where_there_are_any(recommender, planted):
    """Counted anew from the histories, for 30 users."""
    users = recommender.release.histories.matrix.tocsc()
    people = {}
    for item in range(len(recommender.release.items)):
        people[item] = set(users.indices[users.indptr[item] : users.indptr[item + 1]])
    row = recommender.release.items.row
    checked = 0
    for user in planted.answers.users[:30]:
        for entry in recommender.recommend([Request(user=user, n=50)], now=NOW)[0].items:
            for reason in entry.reasons:
                if reason.through == "people":
                    assert people[row(reason.because)] & people[row(entry.item)]
                    checked += 1
    assert checked > 50


# ── cards show what the item carries ─────────────────────────────────────────────────────


def test_cards_show_tags_too_rare_or_common_to_be_learned_from(client):
    items = {entry["item"]: entry for entry in ask(client, "/v1/popular", n=5)["items"]}
    assert items["a"]["tags"] == ["pair", "crowd", "rare"]
    assert items["b"]["tags"] == ["pair"]
    assert items["hated"]["tags"] == []
    others = ask(client, "/v1/tags/items", name="crowd", n=50)["items"]
    assert all("crowd" in entry["tags"] for entry in others)


# ── erase and evaluate ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "near"),
    [("Alice", "'alice'"), ("a lice", "'alice'"), ("alise", "'alice'"), ("zzz", "check the id")],
)
def test_erasing_nobody_is_an_error_that_names_those_like_it(tmp_path, capsys, name, near):
    file = tmp_path / "events.csv"
    file.write_text("user,item\nalice,x\nbob,y\n")
    home = ["--home", str(tmp_path / "home")]
    assert run([*home, "load", str(file)]) == 0
    assert run([*home, "erase", name]) == 1
    output = capsys.readouterr()
    assert f"there is no user {name!r}, and nothing was erased" in output.err
    assert near in output.err
    assert "forgotten" not in output.out
    assert not Home(tmp_path / "home").state.exists()
    assert run([*home, "erase", "alice"]) == 0
    assert run([*home, "erase", "alice"]) == 0  # again, after a kill: the same


def test_an_evaluation_with_nothing_to_find_says_so_and_fails(tmp_path, capsys):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("user,item\n" + "".join(f"u{k % 5},i{k % 7}\n" for k in range(35)))
    test.write_text("user,item\nU1,i1\nu2,I2\n")
    arguments = ["evaluate", "--train", str(train), "--test", str(test), "--preset", "fast"]
    assert run(arguments) == 1
    output = capsys.readouterr()
    assert "there is nothing to find: of 2 test pairs 1 are of users and 1 of items" in output.err
    assert output.out == ""
