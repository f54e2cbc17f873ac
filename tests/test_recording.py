"""On a terminal a refresh tells how much time is left; a log gets its lines alone."""

import pytest

from api import recording

FULL = [("taking a snapshot", 2.0), ("weighing", 3.0), (recording.CHOOSING, 100.0),
        ("fitting the trial", 10.0), ("judging", 5.0)]  # fmt: skip
WARM = [("taking a snapshot", 2.0), ("weighing", 3.0), ("fitting the trial", 1.0), ("judging", 5.0)]


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    at = [0.0]
    monkeypatch.setattr(recording.time, "monotonic", lambda: at[0])
    return at


def lines(monkeypatch, clock, script, before, *, terminal=True):
    monkeypatch.setattr(recording.sys.stderr, "isatty", lambda: terminal, raising=False)
    heard = []
    record = recording.Recording(heard.append, before)
    for moment, text in script:
        clock[0] = moment
        record(text)
    return [line.partition(" (about ")[2].removesuffix(" left)") for line in heard]


def test_what_is_left_is_told_line_by_line(monkeypatch, clock):
    script = [(0, "taking a snapshot"), (2, "weighing 7 events"), (4, "choosing again: a reason"),
            (5, recording.CHOOSING), (35, "ridge 0.2/0.3 10: NDCG@20 0.1"), (135, "exponents"),
            (140, "fitting the trial: the same model")]  # fmt: skip
    expected = ["120 s", "118 s", "116 s", "115 s", "85 s", "15 s", "15 s"]
    assert lines(monkeypatch, clock, script, [FULL]) == expected


def test_a_refresh_is_measured_by_the_last_one_of_its_kind(monkeypatch, clock):
    choosing, keeping = "choosing again", "keeping what was chosen on 2026-01-01, +1 events ago"
    for line, left in ((choosing, "115 s"), (keeping, "6 s")):
        script = [(0, "weighing"), (3, line)]
        for before in ([WARM, FULL], [FULL, WARM]):
            assert lines(monkeypatch, clock, script, before)[1] == left
    assert lines(monkeypatch, clock, [(0, "weighing"), (3, choosing)], [WARM])[1] == ""
    assert lines(monkeypatch, clock, [(0, "weighing"), (3, keeping)], []) == ["", ""]


def test_a_log_gets_no_estimates(monkeypatch, clock):
    assert lines(monkeypatch, clock, [(0, "weighing")], [FULL], terminal=False) == [""]
