"""Rows are rejected for these reasons and no others; what is kept is normalised."""

import numpy as np
import pyarrow as pa
import pytest

from loaders.reasons import REASONS
from loaders.records import Chunk, explain, validate

NOW = 1_700_000_000


def reasons(table, **columns):
    rows = len(next(c for c in columns.values() if not isinstance(c, str)))
    raw = {n: c if isinstance(c, str | pa.Array) else pa.array(c) for n, c in columns.items()}
    result = validate(table, raw, rows, NOW)
    return [REASONS[code] for code in result.codes], result.good


def event(**cells):
    """One event of bytes, as read from a file, with these cells changed: its reason and rows."""
    row = {"user": b"u", "item": b"i", "value": b"1", "at": b"1600000000"} | cells
    result, good = reasons("events", **{n: pa.array([c], pa.binary()) for n, c in row.items()})
    return result[0], good.to_pylist()


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"user": b""}, "missing id"),
        ({"user": None}, "missing id"),
        ({"item": b"  \t "}, "control character"),
        ({"item": b"   "}, "missing id"),
        ({"item": b"x" * 513}, "id too long"),
        ({"item": b"a\x00b"}, "control character"),
        ({"item": "a\u0085b".encode()}, "control character"),
        ({"item": "café".encode("latin-1")}, "not UTF-8"),
        ({"tag": b"\xff"}, "not UTF-8"),
        ({"value": b"many"}, "not a number"),
        ({"value": b"1_000"}, "not a number"),
        ({"value": b"3,5"}, "not a number"),
        ({"value": b"nan"}, "NaN or infinite"),
        ({"value": b"-inf"}, "NaN or infinite"),
        ({"value": b"1e999"}, "NaN or infinite"),
        ({"at": b"yesterday"}, "not a time"),
        ({"at": b"2020-13-01"}, "not a time"),
        ({"at": b"-5"}, "negative time"),
        ({"at": b"1956-06-01"}, "negative time"),
        ({"at": b"1979-01-01"}, "time before 1990"),
        ({"at": b"0"}, "time before 1990"),
        ({"at": str(NOW + 86_401).encode()}, "time in the future"),
        ({"at": b"9999-01-01"}, "time in the future"),
        ({"at": b"nan"}, "NaN or infinite"),
    ],
)
def test_an_event_is_rejected_for_its_reason(cells, reason):
    assert event(**cells) == (reason, [])


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"user": b" u "}, {"user": "u"}),
        ({"user": b"0104257"}, {"user": "0104257"}),
        ({"user": "e\u0301".encode()}, {"user": "é"}),
        ({"user": b"a/b c?&"}, {"user": "a/b c?&"}),
        ({"user": "ЖΩ漢🎻".encode()}, {"user": "ЖΩ漢🎻"}),
        ({"user": b"x" * 512}, {"user": "x" * 512}),
        ({"kind": b""}, {"kind": "view"}),
        ({"value": b""}, {"value": None}),
        ({"value": b" -2.5 "}, {"value": -2.5}),
        ({"tag": b""}, {"tag": None}),
        ({"event_id": b" "}, {"event_id": None}),
        ({"at": b""}, {"at": None}),
        ({"at": b"1600000000.9"}, {"at": 1_600_000_000}),
        ({"at": b"1600000000123"}, {"at": 1_600_000_000}),
        ({"at": b"1600000000123456"}, {"at": 1_600_000_000}),
        ({"at": b"2020-09-13T12:26:40Z"}, {"at": 1_600_000_000}),
        ({"at": b"2020-09-13 14:26:40+02:00"}, {"at": 1_600_000_000}),
        ({"at": b"2020-09-13"}, {"at": 1_599_955_200}),
        ({"at": str(NOW + 86_400).encode()}, {"at": NOW + 86_400}),
    ],
)
def test_an_event_is_kept_and_normalised(cells, expected):
    reason, rows = event(**cells)
    assert reason == ""
    assert {name: rows[0][name] for name in expected} == expected


@pytest.mark.parametrize(
    ("weight", "reason"),
    [(b"0", "weight not above 0"), (b"-1", "weight not above 0"), (b"inf", "NaN or infinite")],
)
def test_weights_are_above_zero(weight, reason):
    columns = {"item": [b"i"], "tag": [b"t"], "weight": [weight]}
    assert reasons("item_tags", **columns)[0] == [reason]


def test_weights_not_given_are_one_and_tags_have_a_category():
    _, good = reasons("item_tags", item=[b"i"], tag=[b"t"], weight=[b""])
    assert good.to_pylist() == [{"item": "i", "category": "tag", "tag": "t", "weight": 1.0}]


def test_items_may_be_older_than_the_service_and_titles_lose_line_breaks():
    result, good = reasons(
        "items",
        id=[b"a", b"b", b"c", b"d"],
        title=[b"two\nlines\x00", b"  ", b"x", b"\xff"],
        created_at=[b"1913-05-01", b"0900-01-01", b"2200-01-01", b""],
        hidden=[b"yes", b"", b"", b""],
    )
    assert result == ["", "time out of range", "time in the future", "not UTF-8"]
    row = good.to_pylist()[0]
    assert (row["title"], row["created_at"], row["hidden"]) == ("two lines", -1_788_393_600, True)


def test_flags_are_yes_or_no():
    result, good = reasons("users", id=[b"a", b"b", b"c", b"d"], consent=[b"NO", b"1", b"", b"?"])
    assert result == ["", "", "", "not yes or no"]
    assert good.column("consent").to_pylist() == [False, True, None]


def test_typed_columns_are_taken_as_they_are():
    """What Parquet gives: numbers as ids, times as timestamps, ids that went through floats."""
    result, good = reasons(
        "events",
        user=pa.array([1, 2, None]),
        item=pa.array([1.0, 2.0, 3.0]),
        value=pa.array([0.5, float("nan"), 1.0]),
        at=pa.array([1_600_000_000_000] * 3, pa.timestamp("ms")),
    )
    assert result == ["", "NaN or infinite", "missing id"]
    assert good.select(["user", "item", "at"]).to_pylist() == [
        {"user": "1", "item": "1", "at": 1_600_000_000}
    ]


def test_relations_with_oneself_are_dropped_without_a_reject():
    raw = {"source": pa.array([b"a", b"b"]), "target": pa.array([b"a", b"c"]), "kind": "cites"}
    result = validate("item_relations", raw, 2, NOW)
    assert (result.loops, result.good.num_rows, result.codes.tolist()) == (1, 1, [0, 0])


def test_nothing_in_nothing_out():
    assert validate("events", {}, 0, NOW).good.num_rows == 0


def test_an_explanation_names_the_line_and_shortens_the_row():
    columns = {"user": pa.array([b"u", b""]), "item": pa.array([b"i", b"\xff" * 300])}
    chunk = Chunk("events", columns, np.array([4, 9]), 0)
    codes = validate("events", columns, 2, NOW).codes
    (reject,) = explain(chunk, codes)
    assert (reject.line, reject.reason) == (9, "missing id")
    assert reject.row.startswith("user= item=\\xff")
    assert len(reject.row) == 200
