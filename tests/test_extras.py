"""A base installation names the extra that brings what a command lacks, in one sentence."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from graph.extras import EXTRA
from tests.data import package

ROOT = Path(__file__).resolve().parents[1]
SERVER = {"NICHEGRAPH_STORE": "bolt://127.0.0.1:1", "NICHEGRAPH_NEO4J_PASSWORD": "x"}
CASES = [
    (["status"], "neo4j", SERVER),
    (["load", "events.csv"], "neo4j", SERVER),
    (["explore", "RETURN 1 AS x"], "neo4j", SERVER),
    (["explore", "RETURN 1 AS x", "--pseudonyms"], "neo4j", SERVER),
    (["migrate", "--from", "embedded", "--to", "bolt://127.0.0.1:1"], "neo4j", SERVER),
    (["explore", "MATCH (i:Item) RETURN i"], "ladybug", {}),
    (["explore", "MATCH (i:Item) RETURN i", "--picture", "p.svg"], "matplotlib", {}),
    (["explain", "reader-1", "evergreen-1", "--picture", "p.svg"], "matplotlib", {}),
    (["segments", "--picture", "p.svg"], "matplotlib", {}),
    (["segments", "--picture", "p.svg"], "sklearn", {}),
    (["tune", "weighting", "--trials", "5"], "optuna", {}),
    (["refresh", "--preset", "graph"], "torch", {}),
    (["refresh", "--preset", "sequence"], "torch", {}),
    (["serve", "--port", "0"], "opentelemetry", {"NICHEGRAPH_TRACES_URL": "http://127.0.0.1:1/"}),
]


@pytest.mark.parametrize(("words", "missing", "settings"), CASES)
def test_what_is_missing_is_named_with_its_extra(
    used_home, planted, tmp_path, words, missing, settings
):
    """The package is hidden by one of its name that is not there."""
    (tmp_path / f"{missing}.py").write_text(
        f"raise ModuleNotFoundError('missing', name={missing!r})"
    )
    (tmp_path / "events.csv").write_text("user,item\na,b\n")
    hidden = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "api.cli.main", "--home", str(used_home.folder), *words],
        cwd=tmp_path, env=os.environ | settings | {"PYTHONPATH": hidden, "PYTHONSAFEPATH": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    sentence = done.stderr.splitlines()[-1]
    assert done.returncode == 1, done.stderr
    assert f"install nichegraph[{EXTRA[missing]}]" in sentence
    assert "Traceback" not in done.stderr


def test_every_extra_that_is_named_is_there_and_brings_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for needed, extra in EXTRA.items():
        name = {"sklearn": "scikit-learn"}.get(needed, needed.replace("_", "-"))
        parts = extras[extra]
        for part in parts:  # an extra may bring another
            parts = parts + extras.get(part.removeprefix("nichegraph[").removesuffix("]"), [])
        assert any(part.replace("_", "-").startswith(name) for part in parts), needed


def test_segments_come_without_torch():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert [part for part in extras["segments"] if "torch" in part or "[train]" in part] == []


def test_a_missing_package_skips_a_test_and_fails_it_where_it_was_promised(monkeypatch):
    monkeypatch.delenv("TESTS_REQUIRE_EXTRAS", raising=False)
    assert package("json").loads("1") == 1
    with pytest.raises(pytest.skip.Exception, match="needs no_such_package"):
        package("no_such_package")
    monkeypatch.setenv("TESTS_REQUIRE_EXTRAS", "1")
    with pytest.raises(RuntimeError, match=r"need no_such_package: install nichegraph\[test\]"):
        package("no_such_package")
