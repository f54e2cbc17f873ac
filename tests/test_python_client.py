"""The Python client: it names what the OpenAPI document names, and it asks a running server."""

import asyncio
import dataclasses
import inspect
import re
import shutil
import subprocess
import sys
import types
import typing
from pathlib import Path

import httpx
import pytest
from test_api_worker import served

import nichegraph_client as client
from api.app import create_app
from api.settings import load_settings
from nichegraph_client import answers, bodies, calls
from nichegraph_client.retries import seconds
from recommender.ranking.request import Request

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "clients" / "python" / "examples" / "shop.py"
DOCS = ROOT / "docs"
NOW = 1_760_000_000
LEFT_OUT = {  # what the service's own page asks, for whoever explores, edits and operates
    "check",
    "delete_pin",
    "get_access",
    "get_cypher_questions",
    "get_map",
    "get_map_items",
    "get_map_points",
    "get_neighbourhood",
    "get_popularity",
    "get_report",
    "get_rules",
    "online",
    "get_segments_picture",
    "put_current",
    "put_pin",
    "put_rules",
    "recommend_by",
}
SAMPLES = {"subjects": [], "new": {}, "entries": [], "items": [], "fields": {}, "attributes": {}}
BODIES = {  # what is typed, and the schema it is sent as
    bodies.Subject: "Subject",
    bodies.PartBody: "PartBody",
    bodies.NewItem: "NewItemBody",
    bodies.ItemFields: "ItemBody",
    bodies.Consent: "ConsentBody",
}
QUERIES = {
    bodies.UserChoice: "recommend",
    bodies.Paged: "popular_items",
    bodies.Trending: "trending_items",
    bodies.Choice: "latest_items",
}


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return create_app(load_settings(tmp_path_factory.mktemp("home"))).api_doc


@pytest.fixture(scope="module")
def operations(document):
    """operationId -> (method, route, operation)"""
    return {
        operation["operationId"]: (method.upper(), route, operation)
        for route, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.fixture(scope="module")
def port(planted_home, tmp_path_factory):
    home = shutil.copytree(planted_home.folder, tmp_path_factory.mktemp("client") / "home")
    with served(home, "--workers", "1") as opened:
        yield opened


@pytest.fixture
def service(port):
    with client.Client(f"http://127.0.0.1:{port}") as opened:
        yield opened


def functions():
    return {
        name: function
        for name, function in inspect.getmembers(calls, inspect.isfunction)
        if typing.get_origin(typing.get_type_hints(function).get("return")) is calls.Call
    }


def sample(function):
    """A call with something for every argument that is needed."""
    needed = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    return function(*(SAMPLES.get(name, "x") for name in needed))


def fits(document, schema, hint, where):
    """What differs between a schema and a type, a line each."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    options = schema.get("anyOf", [schema])
    null = {"type": "null"} in options
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if null != (types.NoneType in parts):
        return [f"{where}: null is {'' if null else 'not '}possible"]
    options = [option for option in options if option != {"type": "null"}]
    parts = [part for part in parts if part is not types.NoneType]
    if len(options) != 1 or len(parts) != 1:
        return [] if len(options) == len(parts) else [f"{where}: {options} or {parts}"]
    (option,), (part,) = options, parts
    if "$ref" in option:
        return fits(document, option, part, where)
    origin, inner = typing.get_origin(part), typing.get_args(part)
    if dataclasses.is_dataclass(part):
        return differences(document, option, part, where)
    if option.get("type") == "array":
        if origin is not list:
            return [f"{where}: is a list"]
        return fits(document, option["items"], inner[0], f"{where}[]")
    if option.get("type") == "object":
        if origin is not dict:
            return [f"{where}: is an object"]
        more = option.get("additionalProperties")
        return fits(document, more, inner[1], f"{where}.*") if isinstance(more, dict) else []
    plain = {"string": str, "integer": int, "number": float, "boolean": bool}
    wanted = plain.get(option.get("type"), str if "enum" in option else typing.Any)
    return [] if part is wanted else [f"{where}: {option} is not {part}"]


def differences(document, schema, shape, where):
    hints = typing.get_type_hints(shape)
    fields = {field.name: field for field in dataclasses.fields(shape)}
    lines = [f"{where}.{name}: no such field" for name in set(fields) - set(schema["properties"])]
    required = schema.get("required", [])
    for name in set(fields) & set(schema["properties"]):
        may_lack = fields[name].default is not dataclasses.MISSING
        if may_lack == (name in required):
            lines.append(f"{where}.{name}: needed differs")
        option = schema["properties"][name]
        if may_lack and {"type": "null"} not in option.get("anyOf", []):
            option = {"anyOf": [option, {"type": "null"}]}
        lines += fits(document, option, hints[name], f"{where}.{name}")
    return lines


def test_each_operation_has_a_method_or_is_left_out_on_purpose(operations):
    """Where this fails: give both clients a method for the new route, or name it in LEFT_OUT."""
    assert set(functions()) == set(operations) - LEFT_OUT
    for kind in (client.Client, client.AsyncClient):
        assert set(functions()) <= set(dir(kind))


@pytest.mark.parametrize("name", sorted(functions()))
def test_a_method_asks_as_the_document_says(name, operations, document):
    call = sample(functions()[name])
    method, route, operation = operations[name]
    assert (call.method, call.route) == (method, route)
    named = {
        where: {part["name"] for part in operation.get("parameters", []) if part["in"] == where}
        for where in ("path", "query")
    }
    assert set(call.names) == named["path"]
    assert set(call.query) <= named["query"]
    assert (call.body is not None) == ("requestBody" in operation)
    if call.body is not None:
        (content,) = operation["requestBody"]["content"].values()
        schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        assert set(call.body) <= set(schema["properties"])
    (good,) = (answer for status, answer in operation["responses"].items() if status[0] == "2")
    (content,) = good["content"].values()
    assert fits(document, content["schema"], call.answer, call.answer.__name__) == []


def test_what_is_sent_has_the_fields_of_the_document(document, operations):
    for shape, name in BODIES.items():
        schema = document["components"]["schemas"][name]
        assert shape.__optional_keys__ | shape.__required_keys__ <= set(schema["properties"])
        assert set(schema.get("required", [])) == shape.__required_keys__
    for shape, name in QUERIES.items():
        parameters = operations[name][2]["parameters"]
        assert shape.__optional_keys__ <= {p["name"] for p in parameters if p["in"] == "query"}
    (event,) = (
        part["items"]
        for part in [document["components"]["schemas"]["EventsBody"]["properties"]["events"]]
    )
    assert bodies.Event.__optional_keys__ | bodies.Event.__required_keys__ <= set(
        event["properties"]
    )


@pytest.mark.parametrize("name", [*sorted(functions()), "track"])
def test_both_clients_have_the_same_methods(name):
    own = inspect.signature(getattr(client.Client, name))
    assert own == inspect.signature(getattr(client.AsyncClient, name))
    assert inspect.iscoroutinefunction(getattr(client.AsyncClient, name))


def scripted(*outcomes):
    """A client whose service answers so, in turn; what was sent; how long was waited."""
    sent, waited, rest = [], [], list(outcomes)

    def answer(request):
        sent.append((request.url.raw_path.decode(), request.content, dict(request.headers)))
        outcome = rest.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    made = client.Client(
        "http://shop/recommend/", transport=httpx.MockTransport(answer), sleep=waited.append
    )
    return made, sent, waited


def taken():
    return httpx.Response(
        202, json={"sequence": 7, "taken": 1, "repeated": 0, "refused": 0, "results": []}
    )


def test_an_event_is_sent_again_under_the_same_id_until_it_is_taken():
    service, sent, waited = scripted(
        httpx.ConnectError("nobody there"),
        httpx.Response(503, headers={"Retry-After": "2"}, json={"detail": "the disk is full"}),
        taken(),
    )
    assert service.track("alice", "goldberg", "play").sequence == 7
    assert len({content for _, content, _ in sent}) == 1 and b"event_id" in sent[0][1]
    assert 0.1 <= waited[0] <= 0.2 and waited[1] == 2.0


def test_items_carry_one_idempotency_key_over_all_tries():
    service, sent, _ = scripted(httpx.ReadTimeout("late"), taken())
    service.post_items([{"id": "a"}])
    first, second = (headers["idempotency-key"] for _, _, headers in sent)
    assert first == second


def test_a_refusal_is_raised_at_once_with_its_fields():
    content = {"detail": "n: too large", "errors": [{"field": "n", "message": "too large"}]}
    service, sent, _ = scripted(httpx.Response(400, json=content))
    with pytest.raises(client.Problem) as refused:
        service.recommend("alice", n=5000)
    assert (refused.value.status, refused.value.errors) == (400, [("n", "too large")])
    assert len(sent) == 1


def test_a_long_wait_is_the_callers_to_decide():
    service, sent, waited = scripted(httpx.Response(429, headers={"Retry-After": "3600"}))
    with pytest.raises(client.Problem):
        service.popular_items()
    assert (len(sent), waited) == (1, [])


def test_in_the_end_it_says_that_nobody_answers():
    service, sent, _ = scripted(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(client.Unreachable, match="http://shop/recommend does not answer: refused"):
        service.popular_items()
    assert len(sent) == 4


def test_a_page_of_a_proxy_is_no_answer():
    service, _, _ = scripted(httpx.Response(200, text="<html>"))
    with pytest.raises(client.Malformed, match="not JSON"):
        service.popular_items()
    service, _, _ = scripted(httpx.Response(200, json={"items": [{"item": 3}]}))
    with pytest.raises(client.Malformed, match=r"ListAnswer.items\[0\].item: int"):
        service.popular_items()


@pytest.mark.parametrize(
    ("user", "path"),
    [("a/b", "a%2Fb"), ("..", "%2E%2E"), ("a?b#c", "a%3Fb%23c"), ("ö x", "%C3%B6%20x")],
)
def test_any_id_stays_one_part_of_the_path(user, path):
    service, sent, _ = scripted(httpx.Response(404, json={"detail": "unknown"}))
    with pytest.raises(client.Problem):
        service.get_user(user)
    assert sent[0][0] == f"/recommend/v1/users/{path}"


def test_a_retry_after_may_be_a_date():
    assert seconds("Fri, 31 Dec 1999 23:59:59 GMT", 946_684_790.0) == 9.0
    assert seconds("soon", 0.0) == seconds("", 0.0) == 0.0


def test_the_key_and_a_fresh_subject_go_with_each_request():
    tokens = iter(["first", "second"])
    sent = []

    def answer(request):
        sent.append((request.headers["Authorization"], request.headers["X-Subject"]))
        return httpx.Response(200, json={"status": "live"})

    service = client.Client(
        "http://shop",
        key="ng_1",
        subject=lambda: next(tokens),
        transport=httpx.MockTransport(answer),
    )
    service.is_live()
    service.is_live()
    assert sent == [("Bearer ng_1", "first"), ("Bearer ng_1", "second")]


def test_lists_are_those_of_the_release(service, recommender, planted):
    user = planted.answers.users[0]
    own = service.recommend(user, n=5, reasons=True)
    here = recommender.recommend([Request(user=user, n=5)], now=NOW)[0]
    assert [entry.item for entry in own.items] == [entry.item for entry in here.items]
    assert own.items[0].reasons[0].text
    first, second = own.items[:2]
    only = service.recommend(user, filter={"items": [first.item]}, exclude=[second.item])
    assert [entry.item for entry in only.items] == [first.item]
    many = service.recommend_to_many([{"user": user, "n": 5}, {"items": [first.item]}])
    assert many.answers[0].items == own.items and len(many.answers) == 2
    assert service.explain(user, first.item).reasons[0].cypher.query.startswith("MATCH")
    page = service.popular_items(n=5)
    assert page.next is not None
    pages = page.items + service.popular_items(n=5, cursor=page.next).items
    assert [e.item for e in pages] == [e.item for e in recommender.popular(10, now=NOW).items]
    assert service.search(first.title, kind=["item"]).hits[0].id == first.item
    assert service.get_segments(user).segments
    assert service.get_releases().releases and service.is_ready().status == "ready"
    with pytest.raises(client.Problem) as unknown:
        service.similar_items("no such/item")
    assert unknown.value.status == 404


def test_what_is_written_counts_once_even_if_the_answer_was_lost(port):
    """The service takes the event, and the line is cut before the answer arrives."""

    class Cut(httpx.HTTPTransport):
        lost = 1

        def handle_request(self, request):
            answer = super().handle_request(request)
            if self.lost:
                self.lost -= 1
                raise httpx.ReadError("the line was cut")
            return answer

    address = f"http://127.0.0.1:{port}"
    with client.Client(address, transport=Cut(), sleep=lambda _: None) as service:
        answer = service.track("nora", "item-1", "play")
        assert [result.status for result in answer.results] == ["repeated"]
        items = service.post_items([{"id": "a/b", "title": "New", "tags:genre": ["odd"]}])
        assert items.taken == 1
        service.patch_item("a/b", {"attributes": {"price": 3}})
        known = service.get_item("a/b")
        assert known.attributes == {"price": 3}
        assert known.tags == [answers.TagAnswer("genre", "odd", known.tags[0].weight)]
        service.put_consent("nora", track=False)
        assert service.get_user("nora").consent == answers.ConsentAnswer(True, True, False)
        refused = service.track("nora", "item-2")
        assert refused.refused == 1 and refused.results[0].errors[0].field == "user"
        assert service.get_erasure(service.delete_user("nora").sequence).places
        assert service.delete_item("a/b").taken == 1


def test_the_same_asynchronously(port, planted):
    async def ask():
        async with client.AsyncClient(f"http://127.0.0.1:{port}") as service:
            shown, written = await asyncio.gather(
                service.recommend(planted.answers.users[0], n=3),
                service.track("otto", "item-1", "play"),
            )
            return len(shown.items), written.taken

    assert asyncio.run(ask()) == (3, 1)


def test_asynchronously_it_is_sent_again_too():
    rest = [httpx.Response(503, json={}), taken()]
    waited = []

    async def wait(pause):
        waited.append(pause)

    async def ask():
        transport = httpx.MockTransport(lambda _: rest.pop(0))
        async with client.AsyncClient("http://shop", transport=transport, sleep=wait) as service:
            return await service.track("alice", "goldberg")

    assert asyncio.run(ask()).sequence == 7
    assert len(waited) == 1


def test_the_blocks_of_the_docs_run(port, monkeypatch, capsys):
    monkeypatch.setenv("SERVICE", f"http://127.0.0.1:{port}")
    for page in ("clients.md", "api.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        blocks = re.findall(r"^```python run\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for block in blocks:
            exec(compile(block, page, "exec"), {"__name__": "__main__"})
    *_, refusal, counts, lists = capsys.readouterr().out.splitlines()
    assert refusal.startswith("404 ") and counts == "[3, 3]" and lists.startswith("5 [5, 5] ")


def test_the_example_shows_a_list_and_what_an_event_changes(port, planted):
    words = [sys.executable, str(EXAMPLE), f"http://127.0.0.1:{port}", planted.answers.users[1]]
    source = EXAMPLE.parents[1] / "src"
    done = subprocess.run(words, env={"PYTHONPATH": str(source)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, _, after = done.stdout.partition("\n\nAfter ")
    assert len(before.splitlines()) == 5 and len(after.splitlines()) == 6
    first = before.splitlines()[0].partition(" - ")[0]
    assert after.startswith(f"{first}:") and first not in after.splitlines()[1:]
