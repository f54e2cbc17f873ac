"""The OpenAPI document tells the truth: generated requests find nothing else (schemathesis)."""

import shutil

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.settings import load_settings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def examples(pytestconfig):
    return 200 if pytestconfig.getoption("--long") else 5


@pytest.fixture(scope="module")
def operations(planted_home, tmp_path_factory):
    home = tmp_path_factory.mktemp("schema") / "home"  # requests write
    shutil.copytree(planted_home.folder, home)
    app = create_app(load_settings(home))
    schema = schemathesis.openapi.from_wsgi("/openapi/openapi.json", app)
    return [operation.ok() for operation in schema.get_all_operations()]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_as_documented(operations, mode, pytestconfig):
    """Right and wrong requests alike: a documented status, type and shape, and never a 500."""
    assert len(operations) >= 9
    for operation in operations:
        has_input = operation.body or operation.query or operation.path_parameters
        if mode == GenerationMode.NEGATIVE and not has_input:
            continue

        @settings(
            max_examples=examples(pytestconfig),
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case):
            case.call_and_validate(checks=CHECKS)

        holds()
