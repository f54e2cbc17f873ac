"""Every door has a scope, no key passes another's door, and limits hold."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from urllib.parse import quote

import pytest

from api.access import NEEDED, OPEN, OPEN_FOLDERS
from api.app import create_app
from api.cli.main import run
from api.keys import SCOPES, KeyFile, subject_of, subject_token
from api.limiter import network
from api.server import _check_address
from api.settings import load_settings
from graph.errors import InputError, SettingError
from recommender.releases.audit import lines
from tests.api_client import client_of

NOW = 1_800_000_000


def bearer(made):
    return {"Authorization": f"Bearer {made.secret}"}


def create(home, *scopes, **more):
    return KeyFile(home.keys).create(scopes, now=int(time.time()), **more)


# ── the file ─────────────────────────────────────────────────────────────────────────────


def test_a_key_is_kept_as_a_digest_and_only_its_owner_may_read_the_file(home):
    made = create(home, "recommend")
    content = home.keys.read_text()
    assert made.secret not in content
    assert made.secret.split("_", 2)[2] not in content
    assert stat.S_IMODE(home.keys.stat().st_mode) & 0o077 == 0
    assert len(made.secret.split("_", 2)[2]) >= 22  # 128 bits and more


def test_a_key_opens_until_it_expires_is_revoked_or_has_been_rotated_away(tmp_path):
    keys = KeyFile(tmp_path / "keys.json")
    made = keys.create(["recommend"], now=NOW, days=1)
    assert keys.opened_by(made.secret, NOW).id == made.key.id
    assert keys.opened_by(made.secret, NOW + 86_400) is None
    assert keys.opened_by(made.secret + "x", NOW) is None
    assert keys.opened_by("", NOW) is None
    rotated = keys.rotate(made.key.id, now=NOW, overlap=60)
    assert rotated.key.scopes == ("recommend",)
    assert keys.opened_by(made.secret, NOW + 59) is not None
    assert keys.opened_by(made.secret, NOW + 60) is None
    assert keys.opened_by(rotated.secret, NOW + 60) is not None
    keys.revoke(rotated.key.id, now=NOW)
    assert keys.opened_by(rotated.secret, NOW) is None
    with pytest.raises(InputError, match="already expired"):
        keys.rotate(rotated.key.id, now=NOW, overlap=0)
    with pytest.raises(InputError, match="scope 'all' is not one of"):
        keys.create(["all"], now=NOW)


def test_another_process_sees_a_revoked_key_without_being_told(tmp_path):
    writer, reader = KeyFile(tmp_path / "keys.json"), KeyFile(tmp_path / "keys.json")
    made = writer.create(["track"], now=NOW)
    assert reader.opened_by(made.secret, NOW) is not None
    writer.revoke(made.key.id, now=NOW)
    assert reader.opened_by(made.secret, NOW) is None


def test_a_damaged_file_lets_nobody_in(home):
    made = create(home, "recommend")
    client = client_of(home)
    assert client.get("/v1/popular", headers=bearer(made)).status_code == 200
    home.keys.write_text("[{]")
    assert client.get("/v1/popular", headers=bearer(made)).status_code == 503
    assert client.get("/v1/popular").status_code == 503


def test_a_file_that_is_gone_lets_nobody_in(home):
    made = create(home, "recommend")
    client, user = client_of(home), "/v1/users/reader-1"
    content = home.keys.read_bytes()
    assert client.get("/v1/popular", headers=bearer(made)).status_code == 200
    home.keys.unlink()
    for other in (client, client_of(home)):  # a worker that runs, and one that starts
        assert other.get("/v1/popular", headers=bearer(made)).status_code == 503
        assert other.get("/v1/popular").status_code == 503
        assert other.get(f"{user}/recommendations").status_code == 503
        assert other.delete(user).status_code == 503
    with pytest.raises(SettingError, match="is gone; bring it back"):
        _check_address(load_settings(home.folder, host="0.0.0.0", port=0))
    home.keys.write_bytes(content)
    assert client.get("/v1/popular", headers=bearer(made)).status_code == 200
    home.keys.unlink()
    new = create(home, "recommend")
    assert client.get("/v1/popular", headers=bearer(new)).status_code == 200
    assert client.get("/v1/popular", headers=bearer(made)).status_code == 401


def test_a_key_that_ends_is_rotated_into_one_that_holds_as_long(tmp_path):
    keys = KeyFile(tmp_path / "keys.json")
    made = keys.create(["recommend"], now=NOW, days=2)
    rotated = keys.rotate(made.key.id, now=NOW + 86_400, overlap=0)
    assert rotated.key.expires_at == NOW + 3 * 86_400
    endless = keys.create(["recommend"], now=NOW)
    successor = keys.rotate(endless.key.id, now=NOW, overlap=60)
    assert successor.key.expires_at is None
    with pytest.raises(InputError, match="rotated before"):
        keys.rotate(endless.key.id, now=NOW + 1, overlap=60)


def test_a_first_key_that_could_not_be_written_shuts_nobody_out(home, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("api.keys.replace_file", full)
    with pytest.raises(OSError, match="No space"):
        create(home, "recommend")
    assert client_of(home).get("/v1/popular").status_code == 200


def test_the_commands_make_show_rotate_and_end_keys(home, capsys):
    base = ["--home", str(home.folder), "keys"]
    assert run([*base, "create", "--scope", "track", "--name", "page", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["scopes"] == ["track"]
    assert run([*base, "rotate", made["id"], "--overlap", "0"]) == 0
    assert run([*base, "list", "--json"]) == 0
    output = capsys.readouterr().out
    assert made["secret"] not in output
    keys = json.loads(output[output.index("{") :])["keys"]
    assert [key["holds"] for key in keys] == [False, True]
    assert run([*base, "revoke", keys[1]["id"]]) == 0
    assert run([*base, "revoke", "nothere"]) == 1
    assert run([*base, "create", "--scope", "everything"]) == 1
    done = lines(home.audit)
    assert [line["what"] for line in done] == ["key created", "key rotated", "key revoked"]
    assert done[0]["scopes"] == ["track"]
    assert done[1]["new"] == done[2]["key"] == keys[1]["id"]
    assert made["secret"] not in json.dumps(done)


# ── the doors ────────────────────────────────────────────────────────────────────────────


def routes(app):
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            yield method, rule.rule


def filled(rule):
    parts = {"<id:user>": "reader-1", "<id:item>": "some-item", "<sequence>": "1"}
    for name, value in parts.items():
        rule = rule.replace(name, value)
    return rule


def test_every_route_has_a_scope_or_is_open_on_purpose(home):
    app = create_app(load_settings(home.folder))
    without = [
        (method, rule)
        for method, rule in routes(app)
        if (method, rule) not in NEEDED
        and (method, rule) not in OPEN
        and not rule.startswith(OPEN_FOLDERS)
    ]
    assert not without
    assert {scope for scopes in NEEDED.values() for scope in scopes} <= set(SCOPES)


@pytest.mark.parametrize("scope", [None, *SCOPES])
def test_no_key_passes_a_door_that_is_not_its_own(home, scope):
    """The matrix of every route and every scope: 401 without a key, 403 without the scope."""
    create(home, "admin")
    headers = {} if scope is None else bearer(create(home, scope))
    client = client_of(home)
    for method, rule in routes(client.application):
        if (method, rule) in OPEN or rule.startswith(OPEN_FOLDERS):
            continue
        answer = client.open(filled(rule), method=method, headers=headers, json={})
        if scope is None:
            assert answer.status_code == 401, (method, rule)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        elif scope in NEEDED[method, rule]:
            assert answer.status_code != 401, (method, rule, answer.data)
            assert b"lacks the scope" not in answer.data
        else:
            assert answer.status_code == 403, (method, rule)
            assert b"lacks the scope" in answer.data


def test_what_is_open_needs_no_key_and_what_is_not_there_is_a_404(home):
    create(home, "recommend")
    client = client_of(home)
    assert client.get("/live").status_code == 200
    assert client.get("/ready").status_code == 200
    assert client.get("/openapi/openapi.json").status_code == 200
    assert client.get("/no/such/thing").status_code == 404


def test_a_key_may_come_in_either_header(home):
    made = create(home, "recommend")
    client = client_of(home)
    assert client.get("/v1/popular", headers={"X-API-Key": made.secret}).status_code == 200
    assert client.get("/v1/popular", headers={"X-API-Key": "ng_0_1"}).status_code == 401


def test_without_keys_a_server_stays_on_this_machine(home):
    settings = load_settings(home.folder, host="0.0.0.0", port=0)
    with pytest.raises(SettingError, match="nichegraph keys create"):
        _check_address(settings)
    create(home, "recommend")
    _check_address(settings)


# ── signed subjects ──────────────────────────────────────────────────────────────────────


def test_a_token_speaks_for_one_user_for_a_while():
    token = subject_token("secret", "alice", NOW + 60)
    assert subject_of(token, "secret", NOW) == "alice"
    assert subject_of(token, "secret", NOW + 60) is None
    assert subject_of(token, "another", NOW) is None
    assert subject_of(subject_token("secret", "alice", NOW + 10**6), "secret", NOW) is None
    for broken in ("", ".", "a.b", token[:-1], token.replace(".", ""), "é." + token):
        assert subject_of(broken, "secret", NOW) is None


def test_no_visitor_reads_or_writes_for_another(home, planted):
    made = create(home, "recommend", "track", signed_subjects=True)
    me, other = planted.answers.users[:2]
    token = subject_token(made.signing, me, int(time.time()) + 60)
    mine = bearer(made) | {"X-Subject": token}
    client = client_of(home)
    assert client.get(f"/v1/users/{me}/recommendations", headers=mine).status_code == 200
    assert client.get(f"/v1/users/{me}/recommendations", headers=bearer(made)).status_code == 401
    assert client.get(f"/v1/users/{other}/recommendations", headers=mine).status_code == 403
    bodies = [
        {"subjects": [{"user": me}, {"user": other}]},
        {"subjects": [{"household": [me, other]}]},
        {"subjects": [{"similar_to": other}]},
        {"subjects": [{"mix": [{"kind": "user", "name": other}]}]},
    ]
    for body in bodies:
        assert client.post("/v1/recommendations", headers=mine, json=body).status_code == 403, body
    for subject in ({"session": "s"}, {"user": None, "session": ["s"]}):  # whose is not said
        body = {"subjects": [subject]}
        assert client.post("/v1/recommendations", headers=mine, json=body).status_code == 403
    nobody = {"item": "x", "session": "s"}
    assert client.post("/v1/events", headers=mine, json=nobody).status_code == 403
    own = {"subjects": [{"user": me, "session": "s"}]}
    assert client.post("/v1/recommendations", headers=mine, json=own).status_code == 200
    event = {"user": other, "item": "x", "kind": "view"}
    assert client.post("/v1/events", headers=mine, json=event).status_code == 403
    assert client.post("/v1/events", headers=mine, json=event | {"user": me}).status_code == 202


def test_a_visitor_reads_of_nobody_else_what_a_key_for_privacy_may(home, planted):
    made = create(home, "recommend", "track", "privacy", signed_subjects=True)
    me, other = planted.answers.users[:2]
    token = subject_token(made.signing, me, int(time.time()) + 60)
    mine = bearer(made) | {"X-Subject": token}
    client = client_of(home, similar_users_enabled=True)
    far = {"headers": mine, "environ_overrides": {"REMOTE_ADDR": "203.0.113.9"}}
    for method, rule in routes(client.application):
        if (method, rule) in OPEN or rule.startswith(OPEN_FOLDERS):
            continue
        path = filled(rule).replace("reader-1", other)
        answer = client.open(path, method=method, json={}, **far)
        if "<id:user>" in rule or NEEDED[method, rule] == ("privacy",):
            assert answer.status_code == 403, (method, rule, answer.data)
    search = f"/v1/search?q={other}&kind=user"
    assert other in client.get(search, headers=bearer(create(home, "recommend", "privacy"))).text
    assert other not in client.get(search, **far).text
    assert other not in client.get(search, headers=mine).text  # passed on by an application here
    assert client.get("/v1/popular", **far).status_code == 200
    assert client.get(f"/v1/users/{me}/data", **far).status_code == 200
    for scope in ("ingest", "explore", "admin"):
        with pytest.raises(InputError, match=f"for visitors.* and not {scope}"):
            create(home, "recommend", scope, signed_subjects=True)


def test_a_number_is_the_id_of_a_user_too(home):
    made = create(home, "recommend", "track", signed_subjects=True)
    client = client_of(home)

    def sent(subject, path, body):
        token = subject_token(made.signing, subject, int(time.time()) + 60)
        headers = bearer(made) | {"X-Subject": token}
        return client.post(path, headers=headers, json=body).status_code

    for user in (42, 4.5, True, ["alice"], {"id": "alice"}):
        event = {"user": user, "item": "x", "kind": "view"}
        assert sent("alice", "/v1/events", event) == 403, user
        assert sent("alice", "/v1/events", {"events": [event]}) == 403, user
    assert sent("42", "/v1/events", {"user": 42, "item": "x"}) == 202
    for subject in ({"household": ["alice", 42]}, {"mix": [{"kind": "user", "name": 42}]}):
        assert sent("alice", "/v1/recommendations", {"subjects": [subject]}) == 403


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 3_000, b'{"user": "a", "user": "b"}'])
def test_a_body_that_cannot_be_read_is_refused_from_a_visitor_too(home, body):
    made = create(home, "track", signed_subjects=True)
    token = subject_token(made.signing, "alice", int(time.time()) + 60)
    headers = bearer(made) | {"X-Subject": token}
    answer = client_of(home).post(
        "/v1/events", data=body, headers=headers, content_type="application/json"
    )
    assert answer.status_code == 400


def test_no_page_takes_an_event_from_another_user_by_its_id(home):
    page, ours = create(home, "track"), create(home, "ingest")
    visitors = create(home, "track", signed_subjects=True)
    client = client_of(home)
    event = {"user": "bob", "item": "x", "kind": "play", "event_id": "order-1"}
    assert client.post("/v1/events", headers=bearer(page), json=event).status_code == 202
    token = subject_token(visitors.signing, "alice", int(time.time()) + 60)
    stolen = event | {"user": "alice"}
    for headers in (bearer(page), bearer(visitors) | {"X-Subject": token}):
        answer = client.post("/v1/events", headers=headers, json=stolen)
        assert answer.status_code == 400
        assert "another user's event" in answer.json["detail"]
        many = client.post("/v1/events", headers=headers, json={"events": [stolen]}).json
        assert [result["status"] for result in many["results"]] == ["refused"]
    assert client.post("/v1/events", headers=bearer(page), json=event).json["repeated"] == 1
    assert client.post("/v1/events", headers=bearer(ours), json=stolen).json["taken"] == 1


def test_what_tells_of_persons_asks_for_the_scope_privacy_from_elsewhere(home, planted):
    """Also where it is one field of a request that any reading key may send."""
    user = planted.answers.users[0]
    reads, private = create(home, "recommend"), create(home, "recommend", "privacy")
    client = client_of(home, similar_users_enabled=True)
    far = {"environ_overrides": {"REMOTE_ADDR": "203.0.113.9"}}
    body = {"subjects": [{"similar_to": user, "n": 3}]}

    def answers(made):
        headers = bearer(made)
        return [
            client.post("/v1/recommendations", json=body, headers=headers, **far),
            client.get(f"/v1/users/{user}/similar", headers=headers, **far),
            client.get(f"/v1/users/{user}/data", headers=headers, **far),
        ]

    assert [answer.status_code for answer in answers(private)] == [200, 200, 200]
    refused = answers(reads)
    assert [answer.status_code for answer in refused] == [403, 403, 403]
    assert all("lacks the scope privacy" in answer.json["detail"] for answer in refused)


# ── limits ───────────────────────────────────────────────────────────────────────────────


def statuses(client, count, headers=None, url="/v1/popular?n=1", address="127.0.0.1"):
    far = {"REMOTE_ADDR": address}
    return [
        client.get(url, headers=headers, environ_overrides=far).status_code for _ in range(count)
    ]


def test_a_key_that_asks_too_often_is_told_to_wait_and_others_are_not(home):
    first, other = create(home, "recommend"), create(home, "recommend")
    client = client_of(home, requests_per_second=6, workers=2)  # three a second in each worker
    many = statuses(client, 12, bearer(first))
    assert many[:3] == [200] * 3
    assert 429 in many
    assert statuses(client, 1, bearer(other)) == [200]
    answers = [client.get("/v1/popular", headers=bearer(first)) for _ in range(9)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["Retry-After"] == "1"


def test_who_has_no_key_is_limited_by_address_and_holds_nobody_up_who_has(home):
    made = create(home, "recommend")
    client = client_of(home, requests_per_second=3, workers=1)
    made_up = {"X-API-Key": "ng_00000000_made-up"}
    codes = statuses(client, 2) + statuses(client, 30, made_up) + statuses(client, 2)
    assert codes[:3] == [401] * 3
    assert 429 in codes
    assert statuses(client, 1, bearer(made)) == [200]


@pytest.mark.parametrize("signed", [False, True])
def test_no_visitor_uses_up_the_key_of_a_page_for_the_others(home, signed):
    scopes = ("recommend",) if signed else ("recommend", "track")
    made = create(home, *scopes, signed_subjects=signed)
    client = client_of(home, requests_per_second=3, workers=1)
    token = subject_token(made.signing, "ann", int(time.time()) + 60) if signed else ""
    headers = bearer(made) | {"X-Subject": token}
    assert 429 in statuses(client, 12, headers, address="203.0.113.1")
    assert statuses(client, 1, headers, address="203.0.113.2") == [200]


def test_what_is_not_there_and_what_nobody_signed_is_counted_by_address(home):
    create(home, "recommend")
    client = client_of(home, requests_per_second=3, workers=1)
    for number, (url, status) in enumerate([("/no/such", 404), ("/v1/pixel/key/token.gif", 403)]):
        codes = statuses(client, 12, url=url, address=f"203.0.113.{number}")
        assert codes[0] == status
        assert set(codes) == {status, 429}


def test_all_addresses_of_one_subscriber_count_together(home):
    create(home, "recommend")
    client = client_of(home, requests_per_second=3, workers=1)
    own = [statuses(client, 1, address=f"2001:db8::{k}:1")[0] for k in range(12)]
    assert set(own) == {401, 429}
    assert statuses(client, 1, address="2001:db8:0:1::1") == [401]
    assert network("::ffff:203.0.113.1") == network("203.0.113.1") == "203.0.113.1"
    assert network("") == ""


def test_work_is_bounded_and_not_only_requests(home, planted):
    client = client_of(home, items_per_second=100, workers=1)
    url = f"/v1/users/{planted.answers.users[0]}/recommendations?n=60"
    assert 429 in statuses(client, 4, url=url)


PUBLIC = ("popular", "latest", "trending", "trending/tags", "items/{item}/similar", "tags/items")


@pytest.mark.parametrize("path", PUBLIC)
def test_lists_of_the_whole_catalogue_are_work_as_well(home, path):
    client = client_of(home, items_per_second=100, workers=1)
    first = client.get("/v1/popular?n=1").json["items"][0]
    tag = f"&name={quote(first['tags'][0])}" if path == "tags/items" else ""
    codes = statuses(client, 4, url=f"/v1/{path.format(item=first['item'])}?n=60{tag}")
    assert codes[0] == 200
    assert 429 in codes


def test_no_request_asks_for_more_than_a_seconds_worth(home):
    alone, shared = (client_of(home, items_per_second=100, workers=count) for count in (1, 2))
    events = {"events": [{"user": "ann", "item": f"item-{k}"} for k in range(101)]}
    many = {"subjects": [{"user": "ann", "n": 51}] * 2}
    for client, path, body, problem in [
        (alone, "/v1/events", events, "101 items at once; .* items_per_second allows 100$"),
        (alone, "/v1/recommendations", many, "102 items at once; .* allows 100$"),
        (alone, "/v1/items/similar", {"title": "x", "n": 101}, "101 items at once"),
        (shared, "/v1/items/similar", {"title": "x", "n": 60}, "allows 50 in each of 2 workers$"),
    ]:
        answer = client.post(path, json=body)
        assert answer.status_code == 400, path
        assert re.search(problem, answer.json["detail"])
    assert alone.post("/v1/events", json={"events": events["events"][:100]}).status_code == 202
    codes = [alone.post("/v1/events", json=events["events"][0]).status_code for _ in range(4)]
    assert 429 in codes


def test_beyond_so_many_requests_under_way_the_answer_is_503_at_once(home):
    app = create_app(load_settings(home.folder, max_in_flight=1))
    inner = []

    @app.get("/inside")
    def inside():
        client = app.test_client()
        inner.extend(client.get(path).status_code for path in ("/v1/popular", "/live"))
        return {}

    assert app.test_client().get("/inside").status_code == 200
    assert inner == [503, 200]
    assert app.test_client().get("/v1/popular").status_code == 200  # its place was given back


@pytest.fixture
def redis(tmp_path):
    """A real Redis on a socket of its own."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("TESTS_REQUIRE_REDIS"):
            pytest.fail("redis-server was there and is gone")
        pytest.skip("no redis-server on this machine")
    socket = tmp_path / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(socket), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not socket.exists():
        time.sleep(0.01)
    yield f"redis+unix://{socket}", server
    server.kill()
    server.wait()


def test_with_redis_workers_count_together_and_without_it_each_goes_on_alone(home, redis):
    url, server = redis
    settings = {"requests_per_second": 4, "workers": 2, "redis_url": url}
    workers = [client_of(home, **settings) for _ in range(2)]
    codes = [client.get("/v1/popular?n=1").status_code for _ in range(6) for client in workers]
    assert codes[:4] == [200] * 4
    assert codes.count(429) >= 4  # four a second between both, and not four in each
    server.kill()
    server.wait()
    time.sleep(1)
    assert workers[0].get("/v1/popular?n=1").status_code == 200
    assert 429 in statuses(workers[0], 12)  # its share, two a second


def test_a_redis_that_hangs_holds_no_request_up_and_is_told_once(home, redis, capsys):
    url, server = redis
    client = client_of(home, requests_per_second=1000, workers=2, redis_url=url, cache_bytes=0)
    assert statuses(client, 2) == [200] * 2
    server.send_signal(signal.SIGSTOP)
    capsys.readouterr()
    assert statuses(client, 50) == [200] * 50
    assert capsys.readouterr().err.count("limits counted per worker") == 1
