"""One store copied into another, both ways."""

import pytest
from neo4j_fixture import address, store  # noqa: F401 - fixtures
from store_contract import batch_of_everything, events

from graph.errors import InputError, StoreError
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.stores.migrate import migrate
from loaders.synthetic import generate


@pytest.fixture
def filled(tmp_path):
    """An embedded store with planted niches and a row of everything."""
    filled = EmbeddedStore(tmp_path / "filled.sqlite")
    for batch in generate(500, seed=2).batches():
        filled.apply(batch)
    filled.apply(batch_of_everything())
    yield filled
    filled.close()


@pytest.mark.neo4j
def test_there_and_back_the_fingerprint_stays(filled, store, tmp_path):
    steps = []
    copied = migrate(filled, store, progress=lambda *step: steps.append(step))
    wanted = take_snapshot(filled).fingerprint
    assert take_snapshot(store).fingerprint == wanted
    assert copied["events"] == filled.counts()["events"]
    assert ("events", copied["events"], copied["events"]) in steps
    back = EmbeddedStore(tmp_path / "back.sqlite")
    migrate(store, back)
    assert take_snapshot(back).fingerprint == wanted
    back.close()


def test_a_filled_store_is_not_mixed_up_and_an_interrupted_copy_goes_on(filled, tmp_path):
    target = EmbeddedStore(tmp_path / "target.sqlite")
    target.apply({"events": filled.read("events").slice(0, 100)})
    with pytest.raises(InputError, match="not empty"):
        migrate(filled, target)
    migrate(filled, target, into_filled=True)
    assert take_snapshot(target).fingerprint == take_snapshot(filled).fingerprint
    target.close()


def test_a_copy_that_has_other_rows_is_not_called_done(filled, tmp_path):
    """Something else writes into the target meanwhile."""
    target = EmbeddedStore(tmp_path / "target.sqlite")

    def disturb(name, done, rows):
        if name == "events":
            target.apply(events(("somebody", "else")))

    with pytest.raises(StoreError, match="written to meanwhile"):
        migrate(filled, target, progress=disturb)
    target.close()
