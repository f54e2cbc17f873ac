"""The embedded store against a dictionary: any batches of events, read back at every watermark."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from graph.model import table
from graph.stores.embedded_store import EmbeddedStore

IDENTITY = ("user", "item", "kind", "tag", "at")
names = st.sampled_from(["u", "v/w", "猫"])
some_events = st.lists(
    st.fixed_dictionaries(
        {
            "user": names,
            "item": names,
            "kind": st.sampled_from(["like", "play"]),
            "value": st.sampled_from([None, 1.0, 2.5]),
            "tag": st.sampled_from([None, "jazz"]),
            "at": st.sampled_from([None, 0, 1_700_000_000]),
            "event_id": st.sampled_from([None, None, "e1", "e2"]),
        }
    ),
    max_size=8,
)


class Oracle:
    """Identity -> (facts, step of the last change)."""

    def __init__(self):
        self.events, self.step = {}, 0

    def apply(self, rows):
        self.step += 1
        latest = {}
        for number, row in enumerate(rows):  # of several rows with one event id the last one counts
            latest[row["event_id"] or number] = row
        for row in latest.values():
            identity = row["event_id"] or tuple(row[name] for name in IDENTITY)
            if self.events.get(identity, (None, 0))[0] != row:
                self.events[identity] = (row, self.step)

    def until(self, step):
        return in_order(row for row, changed in self.events.values() if changed <= step)


def in_order(rows):
    return sorted(rows, key=lambda row: repr(sorted(row.items())))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(batches=st.lists(some_events, max_size=5))
def test_any_batches_of_events_end_as_in_a_dictionary(batches):
    with tempfile.TemporaryDirectory() as folder:
        store, oracle, marks = EmbeddedStore(Path(folder) / "g.db"), Oracle(), []
        for rows in batches:
            store.apply({"events": table("events", rows)})
            oracle.apply(rows)
            marks.append((oracle.step, store.watermark()))
            assert in_order(store.read("events").to_pylist()) == oracle.until(oracle.step)
        for step, watermark in marks:
            result = store.read("events", until=watermark).to_pylist()
            assert in_order(result) == oracle.until(step)
        for user in ("u", "v/w", "猫"):
            own = [row for row in oracle.until(oracle.step) if row["user"] == user]
            assert in_order(store.user_events(user).to_pylist()) == own
        store.close()
