"""A generated catalogue is readable, repeatable, of the size asked for, and its answers hold."""

import numpy as np
import pyarrow as pa
import pytest

from graph.model import SCHEMAS
from loaders.synthetic import HEAD, HOME, SECOND, generate


def whole(catalogue):
    """All batches of a catalogue as one table each."""
    parts = {}
    for batch in catalogue.batches():
        for name, rows in batch.items():
            parts.setdefault(name, []).append(rows)
    return {name: pa.concat_tables(tables) for name, tables in parts.items()}


@pytest.mark.parametrize("events", [1, 200, 12_345, 250_000])
def test_every_size_has_exactly_its_events_and_all_are_different(events):
    tables = whole(generate(events, seed=1))
    assert tables["events"].num_rows == events
    keys = tables["events"].select(["user", "item", "kind", "at"])
    assert keys.group_by(keys.column_names).aggregate([]).num_rows == events
    for name, table in tables.items():
        assert table.schema == SCHEMAS[name]
    assert len(set(tables["items"].column("id").to_pylist())) == tables["items"].num_rows


def test_items_may_be_many_for_few_events():
    assert len(generate(2_000, seed=1, items=500).answers.items) == 500
    with pytest.raises(ValueError, match="items must be at least 40"):
        generate(2_000, seed=1, items=39)


def test_batches_are_bounded_whatever_the_size():
    batches = generate(10_000_000, seed=1).batches()
    for _ in range(30):
        assert max(rows.num_rows for rows in next(batches).values()) <= 100_000


def test_the_seed_decides():
    assert whole(generate(2_000, seed=5)) == whole(generate(2_000, seed=5))
    assert whole(generate(2_000, seed=5)) != whole(generate(2_000, seed=6))


def test_users_stay_in_their_niches_as_planted():
    catalogue = generate(100_000, seed=2, niches=20)
    answers, tables = catalogue.answers, whole(catalogue)
    niche_of = dict(zip(answers.items, answers.item_niches.tolist(), strict=True))
    own = dict(zip(answers.users, answers.user_niches.tolist(), strict=True))
    events = tables["events"].select(["user", "item"]).to_pydict()
    places = [
        "head" if niche_of[item] == HEAD else own[user].index(niche_of[item])
        for user, item in zip(events["user"], events["item"], strict=True)
    ]  # an event outside both niches raises
    shares = [places.count(number) / len(places) for number in (0, 1, "head")]
    assert np.allclose(shares, [HOME, SECOND, 1 - HOME - SECOND], atol=0.01)


def test_the_head_is_popular_and_the_tail_long():
    catalogue = generate(100_000, seed=2)
    counts = whole(catalogue)["events"].column("item").value_counts()
    per_item = dict(zip(*(counts.field(n).to_pylist() for n in ("values", "counts")), strict=True))
    answers = catalogue.answers
    head = [i for i, n in zip(answers.items, answers.item_niches, strict=True) if n == HEAD]
    tail = [per_item.get(i, 0) for i in answers.items if i not in set(head)]
    assert np.mean([per_item[item] for item in head]) > 5 * np.mean(tail)
    assert len(answers.niches) > 100


def test_items_say_their_niche_in_title_tags_and_domain():
    catalogue = generate(5_000, seed=4, niches=6)
    tables, answers = whole(catalogue), catalogue.answers
    titles = dict(zip(*tables["items"].select(["id", "title"]).to_pydict().values(), strict=True))
    assert len(set(titles.values())) == len(titles)
    domains = {row["item"]: row["domain"] for row in tables["item_domains"].to_pylist()}
    for item, niche in zip(answers.items, answers.item_niches, strict=True):
        if niche != HEAD:
            assert domains[item] == answers.niches[niche]
            assert answers.niches[niche] in titles[item]
    tagged = set(tables["item_tags"].column("item").to_pylist())
    assert len(tagged) > 0.95 * len(titles)


def test_impossible_wishes_are_refused():
    with pytest.raises(ValueError, match="events must be at least 1"):
        generate(0, seed=1)
    with pytest.raises(ValueError, match="niches must be 1 to 38"):
        generate(200, seed=1, niches=39)
