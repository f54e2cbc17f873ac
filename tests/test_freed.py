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


AGAIN = """
import resource
import numpy as np
from pathlib import Path
from graph.freed import give_back_freed, reusing_freed

give_back_freed()

def cleared():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.ones(1_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("RssAnon"))

before, apart = held(), cleared()
try:
    with reusing_freed():
        [np.ones(1_000_000) for _ in range(20)]
        again, kept = cleared(), held() - before
        raise KeyError
except KeyError:
    pass
print(apart, again, cleared(), kept, held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc")
def test_in_between_freed_arrays_serve_again_and_go_back_at_the_end():
    shown = subprocess.run(
        [sys.executable, "-c", AGAIN], check=True, capture_output=True, text=True
    ).stdout
    apart, again, afterwards, kept, left = map(int, shown.split())
    assert apart > 1_000  # pages are cleared anew for each of fifty arrays
    assert again < apart / 10
    assert afterwards > apart / 2
    assert kept > 100  # MB
    assert left < 20
