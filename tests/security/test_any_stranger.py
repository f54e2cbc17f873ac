"""Strangers send whatever they like, with any key or none (schemathesis, by the OpenAPI document).

Each generated request, right or wrong, is a request of somebody: of a caller of a server without
keys, of somebody without a key or with a made-up one, or of a key with some scopes. Nobody causes a
500, every answer is as documented, and nobody passes a door that the key does not open. Requests
write: events, items, users, erasures, rules.
"""

import shutil

import pytest
import schemathesis
from flask import request
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.access import NEEDED, OPEN, OPEN_FOLDERS
from api.app import create_app
from api.keys import SCOPES, KeyFile
from api.settings import load_settings
from recommender.releases.home import Home

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
NO_KEYS, EVERY = "a server without keys", "every scope"
STRANGERS = ("nothing", "a made-up key", "the key of another home")
PROCESSES = ("/v1/users/{user}/data",)  # each request starts a process
CALLERS = [*STRANGERS, *SCOPES, *(NO_KEYS, EVERY) * 4]


def examples(pytestconfig):
    """Requests of each operation in each mode: some 5,150 in all, or 104,000."""
    return 1350 if pytestconfig.getoption("--long") else 66


@pytest.fixture(scope="module")
def doors(planted_home, tmp_path_factory):
    """The operations, an application without keys and one with keys, and headers by who asks."""
    homes = [Home(tmp_path_factory.mktemp(name) / "home") for name in ("open", "keyed")]
    for home in homes:
        shutil.copytree(planted_home.folder, home.folder)
    keys = KeyFile(homes[1].keys)
    headers = {NO_KEYS: {}, "nothing": {}, "a made-up key": {"X-API-Key": "ng_00000000_made-up"}}
    other = KeyFile(tmp_path_factory.mktemp("other") / "keys.json")
    headers["the key of another home"] = bearer(other.create(list(SCOPES), now=0))
    headers[EVERY] = bearer(keys.create(list(SCOPES), now=0))
    for scope in SCOPES:
        headers[scope] = bearer(keys.create([scope], now=0))
    apps = [create_app(load_settings(home.folder, similar_users_enabled=True)) for home in homes]
    apps[1].after_request(note_rule)
    schema = schemathesis.openapi.from_wsgi("/openapi/openapi.json", apps[0])
    return [operation.ok() for operation in schema.get_all_operations()], *apps, headers


def bearer(made):
    return {"Authorization": f"Bearer {made.secret}"}


came_to = {}  # what the last request came_to for


def note_rule(response):
    rule = None if request.url_rule is None else request.url_rule.rule
    came_to["door"] = ("GET" if request.method in ("HEAD", "OPTIONS") else request.method, rule)
    return response


def expected(name):
    """The status that a request must get at the door it came to, or None if it may go in."""
    method, rule = came_to["door"]
    if rule is None or (method, rule) in OPEN or rule.startswith(OPEN_FOLDERS) or name == EVERY:
        return None
    if name not in SCOPES:
        return 401
    return None if name in NEEDED.get((method, rule), ()) else 403


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_nobody_breaks_anything_and_nobody_passes_a_door_that_is_not_theirs(
    doors, mode, pytestconfig
):
    operations, without_keys, keyed, headers = doors
    sent = 0
    assert len(operations) >= 45
    for operation in operations:
        has_input = operation.body or operation.query or operation.path_parameters
        if mode == GenerationMode.NEGATIVE and not has_input:
            continue

        @settings(
            max_examples=2 if operation.path in PROCESSES else examples(pytestconfig),
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), name=st.sampled_from(CALLERS))
        def holds(case, name):
            nonlocal sent
            sent += 1
            app = without_keys if name == NO_KEYS else keyed
            response = case.call(app=app, headers=headers[name])
            case.validate_response(response, checks=CHECKS)
            if name != NO_KEYS and (status := expected(name)) is not None:
                assert response.status_code == status, (name, came_to["door"])

        holds()
        print(f"{sent} requests, up to {operation.label}")
