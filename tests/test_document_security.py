"""The OpenAPI document says which keys open an operation, and these open it."""

import time

import pytest

from api.access import NEEDED, OPEN
from api.app import create_app
from api.keys import OF_SUBJECTS, SCOPES, KeyFile, subject_token
from api.metrics import template
from api.settings import load_settings

VALUES = {"user": "reader-1", "item": "some-item", "sequence": "1", "release": "r"}


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return create_app(load_settings(tmp_path_factory.mktemp("home"))).api_doc


def operations(document):
    for route, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (method.upper(), route), operation["security"]


def test_the_document_and_the_doors_name_the_same_scopes(document):
    named = {
        door: {scope for way in ways for scopes in way.values() for scope in scopes}
        for door, ways in operations(document)
    }
    needed = {(method, template(rule)): set(scopes) for (method, rule), scopes in NEEDED.items()}
    assert needed.keys() - named.keys() == {("GET", "/metrics")}  # for Prometheus, not for clients
    unlocked = {door for door, scopes in named.items() if not scopes}
    assert unlocked == {("GET", "/live"), ("GET", "/ready")} <= OPEN
    assert {door: named[door] for door in named.keys() - unlocked} == {
        door: needed[door] for door in needed.keys() & named.keys()
    }
    schemes = document["components"]["securitySchemes"]
    assert {name for _, ways in operations(document) for way in ways for name in way} == {*schemes}


def test_each_way_that_the_document_names_opens_the_operation(document, home):
    keys, moment = KeyFile(home.keys), int(time.time())
    secrets = {scope: keys.create([scope], now=moment).secret for scope in SCOPES}
    signed = {
        scope: keys.create([scope], now=moment, signed_subjects=True) for scope in OF_SUBJECTS
    }
    client = create_app(load_settings(home.folder)).test_client()
    tried = 0
    for (method, route), ways in operations(document):
        for way in ways:
            ((header, (scope,)),) = [each for each in way.items() if each[1]]
            made = signed[scope] if "subject" in way else None
            secret = made.secret if made else secrets[scope]
            headers = {"X-API-Key": secret}
            if header == "bearer":
                headers = {"Authorization": f"Bearer {secret}"}
            if made:
                headers["X-Subject"] = subject_token(made.signing, VALUES["user"], moment + 600)
            answer = client.open(
                route.format(**VALUES), method=method, headers=headers, json={"events": []}
            )
            assert answer.status_code != 401, (method, route, way)
            assert b"lacks the scope" not in answer.data, (method, route, way)
            tried += 1
    assert tried > 100
