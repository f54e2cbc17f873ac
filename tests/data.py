"""What tests need and may be missing: real data sets, and packages of the extra `test`."""

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_data(name: str) -> Path:
    """The folder of a data set beside the project; without it the test is skipped."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name} is not in ../shared/data")
    return folder


def no_fault(reason: str) -> NoReturn:
    """Skip a test of a fault that cannot be made here.

    Where `TESTS_REQUIRE_FAULTS` is set that is a failure, so that no test vanishes unseen.
    """
    if os.environ.get("TESTS_REQUIRE_FAULTS"):
        pytest.fail(f"TESTS_REQUIRE_FAULTS is set, but {reason}")
    pytest.skip(reason)


def package(name: str) -> ModuleType:
    """A package that the extra `test` installs; without it a test is skipped.

    Where `TESTS_REQUIRE_EXTRAS` is set it must be there, so that no test vanishes unseen.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if os.environ.get("TESTS_REQUIRE_EXTRAS"):
            raise RuntimeError(f"tests need {name}: install nichegraph[test]") from error
        pytest.skip(f"needs {name}: install nichegraph[test]", allow_module_level=True)
