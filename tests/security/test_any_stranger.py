"""Strangers send whatever they like, with any key or none (schemathesis, by the OpenAPI document).

Each generated request, right or wrong, is a request of somebody: of a caller of a server without
keys, of somebody without a key or with a made-up one, or of a key with some scopes. Nobody causes a
500, every answer is as documented, and nobody passes a door that the key does not open. Requests
write: events, items, users, erasures, rules. A key with signed subjects comes with a token for one
user, with none, or with one that is made up.
"""

import shutil
import time

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
from api.keys import LONGEST_LIFE, OF_SUBJECTS, SCOPES, KeyFile, subject_token
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
SIGNED, NO_TOKEN, FALSE_TOKEN = "a signed key", "one without a token", "one with a made-up token"
VISITOR = "reader-1"
PROCESSES = ("/v1/users/{user}/data",)  # each request starts a process
CALLERS = [*STRANGERS, NO_TOKEN, FALSE_TOKEN, *SCOPES, *(NO_KEYS, EVERY, SIGNED) * 4]


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
    signed = keys.create(list(OF_SUBJECTS), now=0, signed_subjects=True)
    token = subject_token(signed.signing, VISITOR, int(time.time()) + LONGEST_LIFE)
    headers[NO_TOKEN] = bearer(signed)
    headers[FALSE_TOKEN] = bearer(signed) | {"X-Subject": f"{token[:-4]}AAAA"}
    headers[SIGNED] = bearer(signed) | {"X-Subject": token}
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
    came_to["user"] = (request.view_args or {}).get("user")
    came_to["door"] = ("GET" if request.method in ("HEAD", "OPTIONS") else request.method, rule)
    return response


def expected(name):
    """The status that a request must get at the door it came to, or None if it may go in."""
    method, rule = came_to["door"]
    if rule is None or (method, rule) in OPEN or rule.startswith(OPEN_FOLDERS) or name == EVERY:
        return None
    if name in STRANGERS:
        return 401
    scopes = OF_SUBJECTS if name in (SIGNED, NO_TOKEN, FALSE_TOKEN) else (name,)
    if not set(scopes) & set(NEEDED.get((method, rule), ())):
        return 403
    if name in (NO_TOKEN, FALSE_TOKEN):
        return 401
    return 403 if name == SIGNED and came_to["user"] not in (None, VISITOR) else None


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
            if name == SIGNED and sent % 2 and "user" in case.path_parameters:
                case.path_parameters["user"] = VISITOR
            app = without_keys if name == NO_KEYS else keyed
            response = case.call(app=app, headers=headers[name])
            case.validate_response(response, checks=CHECKS)
            if name != NO_KEYS and (status := expected(name)) is not None:
                assert response.status_code == status, (name, came_to["door"])

        holds()
        print(f"{sent} requests, up to {operation.label}")
