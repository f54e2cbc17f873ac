"""./run: what it says when it cannot help, and that a second call installs nothing."""

import contextlib
import importlib
import os
import shutil
import subprocess
import warnings
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def checkout(tmp_path):
    """The script alone, with fake programs first on the PATH."""
    for name in ("run", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "cat", "cksum", "dirname", "sed", "mkdir", "rm"):
        (programs / name).symlink_to(shutil.which(name))
    return tmp_path


def fake(checkout, name, body):
    path = checkout / "programs" / name
    path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def call(checkout, *words):
    return subprocess.run(
        [checkout / "run", *words],
        env={"PATH": str(checkout / "programs"), "HOME": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_word_it_says_what_it_can_do(checkout):
    done = call(checkout)
    assert done.returncode == 2
    for word in ("demo", "test", "check", "bench", "nichegraph"):
        assert word in done.stderr


@pytest.mark.parametrize("version", ["3.10.13", "3.13.0"])
def test_an_unfit_python_gets_a_sentence(checkout, version):
    fake(checkout, "python3", f'[ "$1" = --version ] && echo "Python {version}" || exit 1')
    done = call(checkout, "demo")
    assert done.returncode == 1
    assert f"Python {version}" in done.stderr
    assert "Install Python 3.12" in done.stderr


def test_no_python_at_all_gets_a_sentence(checkout):
    done = call(checkout, "demo")
    assert done.returncode == 1
    assert "no Python" in done.stderr


def test_a_second_call_installs_nothing(checkout):
    log = checkout / "log"
    fake(
        checkout,
        "python3.12",
        f'echo "$@" >>{log}\n'
        f'if [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; '
        f'cp {checkout}/programs/nichegraph "$3/bin/nichegraph"; fi',
    )
    (checkout / "programs" / "cp").symlink_to(shutil.which("cp"))
    fake(checkout, "nichegraph", f'echo "ran $@" >>{log}')
    first = call(checkout, "nichegraph", "status")
    assert first.returncode == 0, first.stderr
    document = log.read_text(encoding="utf-8")
    assert "-m pip install" in document
    log.write_text("", encoding="utf-8")
    second = call(checkout, "nichegraph", "status")
    assert second.returncode == 0
    lines = log.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "pip install" in line or "-m venv" in line]
    assert lines[-1] == "ran status"
    (checkout / "constraints.txt").write_text("changed\n", encoding="utf-8")
    call(checkout, "nichegraph", "status")
    assert "pip install" in log.read_text(encoding="utf-8")


def test_the_script_can_be_run():
    assert os.access(ROOT / "run", os.X_OK)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_constraints_name_packages_only():
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or line.count("==") == 1
        assert "/" not in line or line.startswith("#")


def test_every_package_of_the_set_runs_on_the_first_python_that_is_promised():
    """Debian 12 has Python 3.11.2: a package that asks for 3.11.5 cannot be installed there."""
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name = line.partition("==")[0]
        with contextlib.suppress(PackageNotFoundError):
            wanted = None if line.startswith("#") else metadata(name).get("Requires-Python")
            assert wanted is None or SpecifierSet(wanted).contains("3.11.0"), name


@pytest.mark.parametrize("name", sorted(path.stem for path in ROOT.glob("benchmarks/[a-z]*.py")))
def test_every_benchmark_finds_what_it_imports(name):
    with warnings.catch_warnings(action="ignore"):  # torch's own, on import
        assert callable(importlib.import_module(f"benchmarks.{name}").main)
