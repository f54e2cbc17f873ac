"""The notebook of the docs runs, and finds what was planted in it."""

from tests.notebook import executed

PLANTED = """
shown = [entry["title"] for entry in answer["items"]]
assert len(shown) == 5
assert all(title.startswith(("Jazz", "Hit")) for title in shown)
assert release["counts"]["events"] == len(plays)
assert len(lists) == 10 * 120
"""


def test_it_runs_and_a_jazz_listener_gets_no_baroque():
    executed(PLANTED)
