"""A refresh is due although few events are new: the gate saw less, or choices go elsewhere."""

import shutil
from contextlib import closing
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from api.cli.refresh import due_since
from api.settings import load_settings
from graph.model import SCHEMAS
from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import generate
from recommender.learning.build import RefreshConfig
from recommender.learning.drift import drifted, elsewhere
from recommender.learning.refresh import refresh
from recommender.learning.warm import drift_of_gate
from recommender.releases.home import Home

NOW = 1_760_000_000


def test_elsewhere_is_what_lies_on_other_items_beyond_what_is_usual():
    before, at_release = np.array([4, 4, 0]), np.array([6, 6, 0])  # the last four spread alike
    assert elsewhere(before, at_release, np.array([8, 8, 0])) == 0
    assert elsewhere(before, at_release, np.array([6, 6, 4])) == 1
    assert elsewhere(before, at_release, np.array([8, 6, 2])) == 0.5
    # Where each batch has new items anyway, another one is nothing new.
    usual = elsewhere(np.array([8, 0, 0]), np.array([8, 4, 0]), np.array([8, 4, 4]))
    assert usual == 0
    assert elsewhere(before, at_release, at_release) == 0


def test_the_gate_has_drifted_when_it_found_a_thirtieth_less():
    def manifest(then, now):
        figure = {"part": "everybody", "candidate": now}
        return {"chosen": {"found": then}, "gates": {"figures": [figure]}}

    assert drift_of_gate(manifest(0.2, 0.195)) is None
    assert "from 0.2000 to 0.1930" in drift_of_gate(manifest(0.2, 0.193))
    assert drift_of_gate(manifest(None, 0.1)) is None
    assert drift_of_gate({}) is None


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A home whose release lacks the last 300 of 6,000 events, and these events."""
    home = Home(tmp_path_factory.mktemp("drift") / "home").create()
    home.segments.write_text("[learned]\nmost = 3\n")
    *first, last = generate(6000, seed=1).batches()
    events = last["events"]
    with closing(EmbeddedStore(home.store)) as store:
        for batch in [*first, last | {"events": events.slice(0, 5700)}]:
            store.apply(batch)
        served = refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    return home, served, events.slice(5700)


def on_one_item(events):
    """The same events, all on an item that nobody had chosen."""
    item = pa.array(["a-newcomer"] * len(events), SCHEMAS["events"].field("item").type)
    return events.set_column(events.schema.get_field_index("item"), "item", item)


@pytest.mark.parametrize(
    ("count", "moved", "expected"),
    [(250, False, False), (250, True, True), (150, True, False)],
    ids=["as before", "elsewhere", "too few"],
)
def test_a_refresh_is_due_when_choices_go_elsewhere(base, tmp_path, count, moved, expected):
    source, served, events = base
    home = Home(shutil.copytree(source.folder, tmp_path / "home"))
    new = events.slice(0, count)
    with closing(EmbeddedStore(home.store)) as store:
        store.apply({"events": on_one_item(new) if moved else new})
        why = drifted(store, served)
    assert (why is not None) == expected
    due, words = due_since(load_settings(home=home.folder), "fast", 0, 0.1)
    assert due == expected
    assert words == why or words.startswith(f"{count / 5700:.1%} of the events are new or gone")


def test_a_gate_that_fell_makes_a_refresh_due(base):
    source, served, _ = base
    fallen = served.manifest | {
        "chosen": {"found": 0.5},
        "gates": {"figures": [{"part": "everybody", "candidate": 0.4}]},
    }
    with closing(EmbeddedStore(source.store)) as store:
        assert drifted(store, served) is None
        assert "NDCG@20 of the gate fell" in drifted(store, replace(served, manifest=fallen))
