"""Compiled code is never taken from another version of the code."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api import compiled

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import sys
sys.path.insert(0, {top!r})
sys.path.append({root!r})
from pathlib import Path
from api import compiled
folder = Path({cache!r}) / compiled.code_digest(Path({top!r}))
import os
os.environ["NUMBA_CACHE_DIR"] = str(folder if {careful} else Path({cache!r}) / "one")
from graph.caller import twice
print(twice(1))
"""


@pytest.fixture
def code(tmp_path):
    """A package of two compiled functions, one calling the other from another file."""
    folder = tmp_path / "code" / "graph"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "called.py").write_text(called(2))
    (folder / "caller.py").write_text(
        "import numba\nfrom graph.called import step\n"
        "@numba.njit(cache=True)\ndef twice(x):\n    return step(step(x))\n"
    )
    return folder.parent


def called(factor):
    return f"import numba\n@numba.njit(cache=True)\ndef step(x):\n    return {factor} * x\n"


def result(code, tmp_path, *, careful):
    program = PROGRAM.format(
        top=str(code), root=str(ROOT), cache=str(tmp_path / "cache"), careful=careful
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": ""},
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.parametrize(("careful", "after"), [(True, 9), (False, 4)])
def test_a_change_in_what_is_called_is_seen(code, tmp_path, careful, after):
    """Without care numba goes on with 4: that is what the folders of versions are for."""
    assert result(code, tmp_path, careful=careful) == 4
    (code / "graph" / "called.py").write_text(called(3))
    assert result(code, tmp_path, careful=careful) == after


def test_other_files_and_a_second_look_change_nothing(code, tmp_path):
    digest = compiled.code_digest.__wrapped__(code)
    (code / "graph" / "plain.py").write_text("x = 1\n")
    assert compiled.code_digest.__wrapped__(code) == digest
    own = compiled.of_this_code(tmp_path)
    assert compiled.of_this_code(own) == own


def test_the_folder_of_an_old_version_goes_after_a_week(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    for name, age in (("code-old", compiled.UNUSED + 60), ("code-young", 60)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    compiled.choose_folder()
    assert Path(os.environ["NUMBA_CACHE_DIR"]) == compiled.of_this_code(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "code-young", compiled.of_this_code(tmp_path).name
    }  # fmt: skip
