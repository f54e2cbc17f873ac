"""Freed arrays go back to the system."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import numpy as np
from pathlib import Path
from graph.freed import give_back_freed

if sys.argv[1] == "set":
    assert give_back_freed()

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("RssAnon"))

np.ones(30_000_000 // 8)  # once freed, glibc keeps whatever is smaller than this
before = held()
arrays, small = [], []
for _ in range(50):
    arrays.append(np.ones(4_000_000 // 8))
    small.append(np.ones(100_000))  # lies behind it and stays
assert held() - before > 180
arrays.clear()
print(held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc")
@pytest.mark.parametrize(("setting", "least", "most"), [("set", 0, 90), ("unset", 150, 250)])
def test_freed_arrays_are_given_back_and_would_be_kept_without(setting, least, most):
    command = [sys.executable, "-c", SCRIPT, setting]
    kept = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert least <= kept <= most
