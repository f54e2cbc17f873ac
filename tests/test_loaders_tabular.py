"""Tables of any maker are read, and broken ones get a message that names the place."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from graph.errors import InputError
from loaders import lines, separated
from loaders.format import Options
from loaders.ingest import checked, format_named

NOW = 1_700_000_000


def read(path, **options):
    """Rows by table, and (line, reason) of rejects."""
    form, chosen = format_named("table"), Options(**options)
    tables, rejects = {}, []
    for source in form.sources(path, chosen):
        for chunk in form.read(source, chosen):
            rejects += [(r.line, r.reason) for r in chunk.rejected]
            for table, good, wrong, _ in checked(chunk, NOW):
                tables.setdefault(table, []).extend(good.to_pylist())
                rejects += [(r.line, r.reason) for r in wrong]
    return tables, rejects


def pairs(tables):
    return [(row["user"], row["item"]) for row in tables.get("events", [])]


@pytest.fixture
def file(tmp_path):
    def write(data, name="events.csv"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


@pytest.mark.parametrize(
    "data",
    [
        b"user,item\na,x\nb,y\n",
        b"user,item\r\na,x\r\nb,y\r\n",
        b"\xef\xbb\xbfuser,item\na,x\nb,y",
        b"user\titem\na\tx\nb\ty\n",
        b"user;item\na;x\n\nb;y\n",
        b"user::item\na::x\nb::y\n",
        b'User ID,ITEM_ID\n"a",x\nb,"y"\n',
        b'{"user":"a","item":"x"}\n{"user":"b","item":"y"}\n',
        gzip.compress(b"user,item\na,x\nb,y\n", mtime=0),
    ],
)
def test_the_same_events_in_many_clothes(file, data):
    tables, rejects = read(file(data))
    assert (pairs(tables), rejects) == ([("a", "x"), ("b", "y")], [])


def test_columns_by_name_by_position_and_without_a_header(file):
    data = "when,what,who,stars\n1600000000,x,a,4.5\n"
    columns = {"user": "who", "item": 2, "value": "4", "at": "when"}
    tables, _ = read(file(data), columns=columns, kind="rating")
    assert tables["events"] == [
        {
            "user": "a", "item": "x", "kind": "rating", "value": 4.5, "tag": None,
            "at": 1_600_000_000, "event_id": None,
        }
    ]  # fmt: skip
    tables, _ = read(file("a|x\n"), header=False)
    assert pairs(tables) == [("a", "x")]


def test_a_column_that_is_not_there_is_named(file):
    with pytest.raises(InputError, match=r"no column 'who' for user; it has 'user', 'item'"):
        read(file("user,item\n"), columns={"user": "who"})
    for number in ("²", "9" * 5000, 0, 3):
        with pytest.raises(InputError, match=r"no column .* for user"):
            read(file("user,item\n"), columns={"user": number})
    with pytest.raises(InputError, match=r"no column for 'item'.*'user', 'thing'"):
        read(file("user,thing\na,b\n"))
    with pytest.raises(InputError, match="column 'colour' is not one of events"):
        read(file("user,item\n"), columns={"colour": 1})
    with pytest.raises(InputError, match="there is no table 'evens'"):
        read(file("user,item\n"), table="evens")


def test_wrong_rows_are_told_by_their_line_and_the_rest_is_kept(file):
    data = b'user,item\na,x\nb\n\nc,y,z\n"d\n1",w\n"e",q\n\xff,r\nf,s\n'
    tables, rejects = read(file(data))
    assert pairs(tables) == [("a", "x"), ("e", "q"), ("f", "s")]
    assert rejects == [
        (3, "row too short"),
        (5, "row too long"),
        (6, "control character"),  # an id over two lines, rightly quoted
        (9, "not UTF-8"),
    ]


def test_an_open_quote_costs_one_row(file):
    data = 'user,item\na,x\n"b,y\nc,z\n'
    tables, rejects = read(file(data))
    assert pairs(tables) == [("a", "x"), ("c", "z")]
    assert rejects == [(3, "quote not closed")]


def test_line_breaks_in_quotes_keep_the_numbers_of_lines_right(file):
    data = 'id,title\n1,"one\ntwo"\n,x\n2,"a ""quoted"" word"\n'
    tables, rejects = read(file(data), table="items")
    assert [row["title"] for row in tables["items"]] == ["one two", 'a "quoted" word']
    assert rejects == [(4, "missing id")]


def test_items_bring_domains_tags_and_attributes(file):
    data = (
        "id,title,domains,tags,genres,created_at,colour\n"
        "1,T,jazz|bop,cool | ,Live,1959-08-17,blue\n2,,,,,,\n,lost,jazz,a,b,,\n"
    )
    tables, rejects = read(file(data), table="items", attributes=("colour",))
    first, second = tables["items"]
    assert first == {
        "id": "1", "title": "T", "created_at": -327_456_000, "hidden": None,
        "attributes": '{"colour": "blue"}',
    }  # fmt: skip
    assert second["attributes"] is None
    assert [(d["item"], d["domain"]) for d in tables["item_domains"]] == [
        ("1", "jazz"),
        ("1", "bop"),
    ]
    assert [(t["category"], t["tag"]) for t in tables["item_tags"]] == [
        ("tag", "cool"),
        ("genre", "Live"),
    ]
    assert rejects == [(4, "missing id")]  # once: what it implies goes with it


def test_json_lines_carry_lists_and_objects(file):
    rows = [
        {"id": 7, "tags": ["a|b", "c"], "attributes": {"year": 1995}, "size": 2},
        {"id": "8", "title": "half \ud800"},
        {"id": {"x": 1}, "title": None},
    ]
    data = "\n".join(json.dumps(row) for row in rows) + '\n[1]\n{"id": 1e\n{"id":' + "[" * 10**5
    tables, rejects = read(file(data), table="items", attributes="all")
    assert [row["id"] for row in tables["items"]] == ["7"]
    assert json.loads(tables["items"][0]["attributes"]) == {"year": 1995, "size": 2}
    assert [row["tag"] for row in tables["item_tags"]] == ["a|b", "c"]
    no = "not a JSON object"
    assert sorted(rejects) == [
        (2, "not UTF-8"),
        (3, "a list or an object"),
        (4, no),
        (5, no),
        (6, no),
    ]


def test_parquet_with_types_and_lists(tmp_path):
    path = tmp_path / "items.parquet"
    columns = {"id": [1, 2], "title": ["a", None], "tags": [["x", "y"], None], "pages": [3, None]}
    parquet.write_table(pa.table(columns), path)
    tables, rejects = read(path, table="items", attributes=("pages",))
    assert [(r["id"], r["title"], r["attributes"]) for r in tables["items"]] == [
        ("1", "a", '{"pages": 3}'),
        ("2", None, None),
    ]
    assert [(r["item"], r["tag"]) for r in tables["item_tags"]] == [("1", "x"), ("1", "y")]
    assert rejects == []
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"items\.parquet: the Parquet file is damaged"):
        read(path, table="items")


def test_other_encodings_are_said_and_wrong_ones_are_named(file):
    data = "user,item\ncafé,x\n"
    latin = file(data.encode("latin-1"))
    assert read(latin)[1] == [(2, "not UTF-8")]
    assert pairs(read(latin, encoding="latin-1")[0]) == [("café", "x")]
    wide = file(data.encode("utf-16"))
    with pytest.raises(InputError, match="is UTF-16.*give the encoding utf-16"):
        read(wide)
    assert pairs(read(wide, encoding="utf-16")[0]) == [("café", "x")]
    with pytest.raises(InputError, match="encoding 'klingon' is not known"):
        read(latin, encoding="klingon")
    with pytest.raises(InputError, match="is not utf-16"):
        read(file(b"user,item\na,b\n\n"), encoding="utf-16")


def test_damaged_gzip_names_the_file(file):
    whole = gzip.compress(b"user,item\n" + b"a,b\n" * 1000)
    for data in (whole[:-12], whole[:30] + b"garbage" + whole[37:]):
        path = file(data, "cut.csv.gz")
        with pytest.raises(InputError, match=r"cut\.csv\.gz: the compressed file is damaged"):
            read(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="no file here ends in"):
        read(tmp_path)


def test_nul_bytes_are_rejected_not_cut(file):
    tables, rejects = read(file(b"user,item\na\x00b,x\nc,y\n"))
    assert pairs(tables) == [("c", "y")]
    assert rejects == [(2, "control character")]


def test_a_huge_line_costs_one_row_and_little_memory(file, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK", 1000)
    monkeypatch.setattr(lines, "LONGEST_LINE", 5000)
    data = "user,item\na,x\n" + "b" * 20_000 + ",y\nc,z\n"
    small = lines.blocks(file(data), size=1000)
    assert max(len(block.data) for block in small) <= 6_000
    real = lines.blocks
    monkeypatch.setattr(
        separated, "blocks", lambda path, encoding, most: real(path, encoding, 1000, most)
    )
    tables, rejects = read(file(data))
    assert pairs(tables) == [("a", "x"), ("c", "z")]
    assert rejects == [(3, "line too long")]


def test_empty_files_give_nothing(file):
    for data in ("", "user,item\n", "\n"):
        tables, rejects = (
            read(file(data), columns={"user": 1} if data == "" else {})
            if (data != "\n")
            else ({}, [])
        )
        assert (pairs(tables), rejects) == ([], [])


CELL = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL, st.none() | st.floats(-1e6, 1e6)), min_size=1),
    separator=st.sampled_from([",", "\t", ";"]),
    end=st.sampled_from(["\n", "\r\n"]),
    size=st.integers(7, 300),
)
def test_what_the_csv_module_writes_is_read_back(rows, separator, end, size, tmp_path_factory):
    """Whatever the quotes, and wherever a block of the file happens to end."""
    import unicodedata

    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    writer.writerows([("user", "item", "value"), *rows])
    path = tmp_path_factory.mktemp("round") / "trip.csv"
    path.write_bytes(text.getvalue().encode())
    real = lines.blocks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            separated, "blocks", lambda path, encoding, most: real(path, encoding, size, most)
        )
        tables, rejects = read(path, separator=separator)
    nfc = [tuple(unicodedata.normalize("NFC", cell) for cell in row[:2]) for row in rows]
    assert rejects == []
    assert pairs(tables) == nfc
    assert [row["value"] for row in tables["events"]] == [row[2] for row in rows]
