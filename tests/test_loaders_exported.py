"""What Segment, GA4 and Snowplow export is read; what is wrong is named by line and field."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from graph.errors import InputError
from graph.stores.embedded_store import EmbeddedStore
from loaders.format import Options
from loaders.ingest import checked, format_named, load
from loaders.registry import sniff
from loaders.snowplow import COLUMNS, PLACES

NOW = 1_790_000_000
EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "example" / "exported"
NOON = 1_767_434_400  # 2026-01-03, 10:00 UTC


def read(form, path, **options):
    """Events as (user, item, kind, value, at, event_id), (line, reason) of rejects, warnings."""
    chosen = Options(**options)
    rows, rejects, warnings = [], [], []
    sources = format_named(form).sources(path, chosen)
    for source in format_named(form).together(sources, chosen):
        for chunk in format_named(form).read(source, chosen):
            rejects += [(r.line, r.reason) for r in chunk.rejected]
            warnings += chunk.warnings
            for _, good, wrong, _ in checked(chunk, NOW):
                names = ("user", "item", "kind", "value", "at", "event_id")
                rows += [tuple(row[name] for name in names) for row in good.to_pylist()]
                rejects += [(r.line, r.reason) for r in wrong]
    return rows, rejects, warnings


def written(path, *messages):
    path.write_text("".join(f"{json.dumps(message)}\n" for message in messages), encoding="utf-8")
    return path


def test_messages_of_segment_become_events():
    rows, rejects, warnings = read("segment", EXAMPLES / "segment.jsonl")
    assert rejects == []
    assert rows == [
        ("alice", "goldberg", "view", None, NOON, "s-1"),
        ("alice", "goldberg", "purchase", 1.0, NOON + 300, "s-3/1"),
        ("alice", "partitas", "purchase", 2.0, NOON + 300, "s-3/2"),
        ("bob", "art-of-fugue", "rating", 4.0, NOON + 23 * 3600, "s-4"),  # identified later
    ]
    (warning,) = warnings
    assert warning.startswith("3 messages are not about an item, and were left out: ")
    assert "Home (1)" in warning and "Song Played (1)" in warning and "identify (1)" in warning


def segment(number, **fields):
    """A message about an item, or of another type."""
    about = {"type": "track", "event": "Product Viewed", "properties": {"product_id": "x"}}
    if "type" in fields:
        about = {}
    return {**about, "messageId": f"m-{number}", "timestamp": "2026-01-03T10:00:00Z", **fields}


def test_who_a_visitor_turned_out_to_be_holds_over_all_files(tmp_path):
    written(
        tmp_path / "1.jsonl",
        segment(1, anonymousId="a"),
        segment(2, anonymousId="shared"),
        segment(3, anonymousId="nobody"),
        segment(4, anonymousId="old"),
    )
    written(
        tmp_path / "2.jsonl",
        segment(5, anonymousId="shared", userId="ann"),
        segment(6, type="identify", anonymousId="shared", userId="ben"),
        segment(7, type="identify", anonymousId="a", userId="alice"),
        segment(8, type="alias", previousId="old", userId="alice"),
        segment(9, anonymousId="a", userId="alice"),
        segment(10, type="identify", anonymousId=["a"], userId={"id": 1}),
    )
    rows, rejects, _ = read("segment", tmp_path)
    assert rejects == []
    assert [row[0] for row in rows] == ["alice", "shared", "nobody", "alice", "ann", "alice"]
    rows, _, _ = read("segment", tmp_path, columns={"user": "anonymousId"})
    assert [row[0] for row in rows] == ["a", "shared", "nobody", "old", "shared", "a"]


def test_an_own_event_is_read_where_the_caller_says_its_item_is():
    own = {"item": "properties.song.id", "value": "properties.seconds"}
    rows, rejects, _ = read("segment", EXAMPLES / "segment.jsonl", columns=own)
    assert rejects == []
    assert rows == [("bob", "kind-of-blue", "song_played", 210.0, NOON + 23 * 3600 + 1800, "s-5")]
    rows, _, _ = read("segment", EXAMPLES / "segment.jsonl", columns=own, kind="play")
    assert [row[2] for row in rows] == ["play"]


def test_events_of_ga4_become_events():
    rows, rejects, warnings = read("ga4", EXAMPLES / "ga4.jsonl")
    assert rejects == []
    assert rows == [
        ("alice", "goldberg", "view", None, NOON, None),
        ("alice", "goldberg", "purchase", 1.0, NOON + 60, None),
        ("alice", "partitas", "purchase", 2.0, NOON + 60, None),
    ]
    assert "read_article (1), scroll (1)" in warnings[0]
    own = {"item": "event_params.article_id", "value": "event_params.percent"}
    rows, _, _ = read("ga4", EXAMPLES / "ga4.jsonl", columns=own)
    assert rows == [("2.2", "kind-of-blue", "read_article", 90.0, NOON + 86_400, None)]


def test_parquet_from_bigquery_says_the_same(tmp_path):
    messages = [json.loads(line) for line in (EXAMPLES / "ga4.jsonl").read_text().splitlines()]
    value = pa.struct([("string_value", pa.string()), ("int_value", pa.int64())])
    schema = pa.schema(
        [
            ("event_timestamp", pa.int64()),
            ("event_name", pa.string()),
            ("user_id", pa.string()),
            ("user_pseudo_id", pa.string()),
            ("event_params", pa.list_(pa.struct([("key", pa.string()), ("value", value)]))),
            ("items", pa.list_(pa.struct([("item_id", pa.string()), ("quantity", pa.int64())]))),
        ]
    )
    for message in messages:
        message["event_timestamp"] = int(message["event_timestamp"])
        for part in [*message["items"], *(p["value"] for p in message.get("event_params", []))]:
            for name in ("quantity", "int_value"):
                if name in part:
                    part[name] = int(part[name])
    parquet.write_table(pa.Table.from_pylist(messages, schema), tmp_path / "events.parquet")
    for columns in ({}, {"item": "event_params.article_id"}):
        assert (
            read("ga4", tmp_path / "events.parquet", columns=columns)[0]
            == read("ga4", EXAMPLES / "ga4.jsonl", columns=columns)[0]
        )


SNOWPLOW = [
    ("alice", "goldberg", "view", None, NOON, "p-1"),
    ("d-1", "goldberg", "purchase", 1.0, NOON + 120, "p-2/1"),
    ("d-1", "partitas", "purchase", 2.0, NOON + 120, "p-2/2"),
]


def test_events_of_snowplow_become_events():
    rows, rejects, warnings = read("snowplow", EXAMPLES / "snowplow.jsonl")
    assert (rows, rejects) == (SNOWPLOW, [])
    assert "page_view (1), song_played (1)" in warnings[0]
    share = "unstruct_event_com_acme_song_played_1.share"
    own = {"item": "contexts_com_acme_song_1.id", "value": share}
    rows, _, _ = read("snowplow", EXAMPLES / "snowplow.jsonl", columns=own)
    assert rows == [("bob", "kind-of-blue", "song_played", 0.9, NOON + 84_600, "p-4")]


def as_line(message):
    """A message of the SDK's form, as the pipeline writes it: 131 cells with tabs between."""
    cells = [""] * COLUMNS
    contexts = []
    for name, value in message.items():
        if name in PLACES:
            cells[PLACES[name]] = str(value).replace("T", " ").removesuffix("Z") \
                if name.endswith("_tstamp") else str(value)  # fmt: skip
        elif name.startswith("contexts_com_acme"):
            schema = "iglu:com.acme/song/jsonschema/1-0-2"
            contexts += [{"schema": schema, "data": part} for part in value]
        elif name.startswith("contexts"):
            schema = "iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0"
            contexts += [{"schema": schema, "data": part} for part in value]
        else:
            schema = (
                "iglu:com.acme/songPlayed/jsonschema/1-0-0"
                if "acme" in name
                else "iglu:com.snowplowanalytics.snowplow.ecommerce/"
                "snowplow_ecommerce_action/jsonschema/1-0-1"
            )
            cells[58] = json.dumps({"schema": "…", "data": {"schema": schema, "data": value}})
    if contexts:
        cells[52] = json.dumps({"schema": "…", "data": contexts})
    return "\t".join(cells)


@pytest.mark.parametrize("columns", [{}, {"item": "contexts_com_acme_song_1.id"}])
def test_lines_with_tabs_say_the_same(tmp_path, columns):
    lines = (EXAMPLES / "snowplow.jsonl").read_text().splitlines()
    path = tmp_path / "enriched.tsv"
    path.write_text("".join(f"{as_line(json.loads(line))}\n" for line in lines) + "a\tb\n")
    rows, rejects, _ = read("snowplow", path, columns=columns)
    assert rows == read("snowplow", EXAMPLES / "snowplow.jsonl", columns=columns)[0] != []
    assert rejects == [(5, "not a JSON object")]


def test_older_events_and_transactions_of_snowplow(tmp_path):
    added = "unstruct_event_com_snowplowanalytics_snowplow_add_to_cart_1"
    about = {"user_id": "u", "derived_tstamp": "2026-01-03T10:00:00Z"}
    path = written(
        tmp_path / "old.jsonl",
        {**about, "event": "unstruct", "event_name": "add_to_cart", added: {"sku": "a"}},
        {**about, "event": "transaction_item", "ti_sku": "b", "ti_quantity": 3},
    )
    rows, rejects, _ = read("snowplow", path)
    assert rejects == []
    assert [row[1:4] for row in rows] == [("a", "add", None), ("b", "purchase", 3.0)]


ORDER = {
    "type": "track", "event": "Order Completed", "messageId": "m", "userId": "u",
    "timestamp": "2026-01-03T10:00:00Z", "properties": {"products": [{"product_id": "a"}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"userId": None}, "userId or anonymousId: missing"),
        ({"userId": {"id": 3}}, "userId or anonymousId: a list or an object"),
        ({"timestamp": None}, "timestamp or originalTimestamp: missing"),
        ({"timestamp": "yesterday"}, "timestamp or originalTimestamp: not a time"),
        ({"properties": {"products": [{"product_id": "a"}, {"name": "B"}]}},
         "properties.products[1].product_id: missing"),
        ({"properties": {"products": [{"product_id": "a", "quantity": "two"}]}},
         "properties.products[0].quantity: not a number"),
        ({"properties": {"products": ["a"]}}, "properties.products[0].product_id: missing"),
        ({"properties": {"products": [{"product_id": ["a"]}]}},
         "properties.products[0]: a list or an object"),
        ({"properties": {}}, "properties.product_id: missing"),
        ({"properties": None}, "product_id: missing, though 'Order Completed' is about an item"),
        ({"timestamp": "2126-01-03T10:00:00Z"}, "time in the future"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_line_and_field(tmp_path, change, reason):
    path = written(tmp_path / "segment.jsonl", ORDER, {**ORDER, **change})
    rows, rejects, _ = read("segment", path)
    assert len(rows) == 1
    assert rejects == [(2, reason)]


def test_a_line_that_is_none_and_a_column_that_is_none(tmp_path):
    path = written(tmp_path / "segment.jsonl", ORDER)
    path.write_text(path.read_text() + "\n[1]\n{broken\n")
    _, rejects, _ = read("segment", path)
    assert rejects == [(3, "not a JSON object"), (4, "not a JSON object")]
    with pytest.raises(InputError, match="'itm' is not one of user, item"):
        read("segment", path, columns={"itm": "x"})
    with pytest.raises(InputError, match="say nothing about items"):
        read("segment", path, part="items")
    with pytest.raises(InputError, match="no such file"):
        read("segment", tmp_path / "nowhere")


def test_a_file_that_cannot_be_read_looks_like_nothing(tmp_path):
    (tmp_path / "events.zip").write_bytes(b"PK\x03\x04 messageId anonymousId")
    assert sniff(tmp_path / "events.zip") is None
    assert sniff(tmp_path) is None


@pytest.mark.parametrize("name", ["segment", "ga4", "snowplow"])
def test_a_folder_is_loaded_once_and_says_what_was_left_out(tmp_path, name):
    folder = tmp_path / "export" / "2026-01-03"
    folder.mkdir(parents=True)
    (folder / "part-0.jsonl").write_bytes((EXAMPLES / f"{name}.jsonl").read_bytes())
    assert sniff(folder / "part-0.jsonl") == name
    store = EmbeddedStore(tmp_path / "graph.sqlite")
    for _ in range(2):
        report = load(
            [tmp_path / "export"], name, store, staging_folder=tmp_path / "staging",
            rejects_file=tmp_path / "rejects.csv", now=NOW,
        )  # fmt: skip
        (file,) = report.files
        assert file.rejected == 0
        assert "were left out" in file.understood["warnings"][0]
    assert report.totals["events"] == {"segment": 4, "ga4": 3, "snowplow": 3}[name]
    store.close()
