"""A load tells what it understood, and neither loses nor bends data without a word."""

import bz2
import csv
import gzip
import json
import lzma

import pyarrow as pa
import pytest
from pyarrow import parquet

from api.cli.main import run
from graph.errors import InputError, LoadRefused
from graph.stores.embedded_store import EmbeddedStore
from tests.test_ingest import Home


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    yield made
    made.store.close()


def events(home):
    return [tuple(row.values()) for row in home.store.read("events").to_pylist()]


def pairs(home):
    return {(user, item) for user, item, *_ in events(home)}


def items(home):
    return {row["id"]: row for row in home.store.read("items").to_pylist()}


def understood(report):
    (file,) = report.files
    return file.understood


# What a load tells


def test_a_load_tells_what_it_took_each_column_for(home):
    data = "listener,book_id,stars,when,mood\n" + "a,x,5,1600000000,sad\n" * 3
    report = home.load(home.write(data), columns={"user": "listener", "at": "when"})
    assert understood(report)["columns"] == {
        "user": "listener", "item": "book_id", "value": "stars", "at": "when",
    }  # fmt: skip
    assert understood(report)["ignored"] == ["mood"]
    taken = understood(report)["taken"]
    assert taken["file"].startswith("a table with ',' between cells, utf-8")
    assert taken["kind"] == "rating, by the column 'stars'"
    assert taken["at"] == "numbers are seconds"
    assert report.files[0].rows == 3


def test_a_dry_run_tells_and_loads_nothing(home):
    file = home.write("user,item,rating\na,x,5\nb,,1\n")
    report = home.load(file, dry_run=True, max_rejects=1.0)
    assert report.as_dict()["dry_run"] is True
    assert (report.rows, report.rejected) == (2, {"missing id": 1})
    assert report.examples[0]["row"] == "user=b item= value=1"
    assert home.store.counts()["events"] == 0
    assert home.store.loads() == []


# Rows that were lost


@pytest.mark.parametrize("text", ["", "\ufeff", "id,title\n", "\n\n", "id,title\n\n \n"])
def test_no_rows_at_all_are_an_error_and_hide_nothing(home, text):
    home.load(home.write("id,title\na,A\nb,B\n"), table="items")
    for replace in (False, True):
        with pytest.raises(InputError, match="there is no row to load"):
            home.load(home.write(text), table="items", replace=replace, max_hidden=1.0)
    assert not any(row["hidden"] for row in items(home).values())


def test_a_load_of_which_every_row_is_rejected_is_an_error_and_hides_nothing(tmp_path, capsys):
    home = ["--home", str(tmp_path / "home"), "load"]
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("id,title\nx,X\ny,Y\n")
    bad.write_text("id,created_at\nz,soon\n")
    items = ["--table", "items"]
    assert run([*home, str(good), *items]) == 0
    capsys.readouterr()
    assert run([*home, str(bad), *items, "--max-rejects", "1"]) == 1
    printed = capsys.readouterr()
    assert "not a time" in printed.out
    assert "undo" not in printed.out
    assert "not a single row was accepted" in printed.err
    everything = ["--replace", "--max-hidden", "1", "--max-rejects", "1"]
    assert run([*home, str(bad), *items, *everything]) == 1
    store = EmbeddedStore(tmp_path / "home" / "store.sqlite")
    assert [(row["id"], row["hidden"]) for row in store.read("items").to_pylist()] == [
        ("x", False), ("y", False),
    ]  # fmt: skip
    store.close()


def test_replacing_refuses_to_hide_more_than_a_share_and_applies_nothing(home):
    many = "id,title\n" + "".join(f"i{n:02},T{n}\n" for n in range(20))
    home.load(home.write(many), table="items")
    less = home.write("id,title\n" + "".join(f"i{n:02},new\n" for n in range(17)))
    with pytest.raises(LoadRefused, match=r"would hide 3 of 20 items, more than 10%.*'i17'"):
        home.load(less, table="items", replace=True)
    assert items(home)["i00"]["title"] == "T0"
    assert home.load(less, table="items", replace=True, max_hidden=0.15).hidden == 3
    assert home.load(less, table="items", replace=True).hidden == 0  # they are hidden already


def test_replacing_goes_table_by_table(home):
    home.load(home.write("id,title,tags\na,A,x|y\nb,B,x\n"), table="items")
    home.load(home.write("item,tag\nb,z\n"), table="item_tags", replace=True)
    tags = {(row["item"], row["tag"]) for row in home.store.read("item_tags").to_pylist()}
    assert tags == {("a", "x"), ("a", "y"), ("b", "z")}
    home.load(home.write("id,title\na,A2\nb,B2\n"), table="items", replace=True)  # no tags in it
    assert home.store.counts()["item_tags"] == 3
    home.load(home.write("id,title,tags\na,A,\nb,B,q\n"), table="items", replace=True)
    tags = {(row["item"], row["tag"]) for row in home.store.read("item_tags").to_pylist()}
    assert tags == {("b", "q")}
    with pytest.raises(InputError, match="events are only added.*loads undo"):
        home.load(home.write("user,item\nu,a\n"), replace=True)


def test_blank_lines_before_the_header_are_skipped(home):
    home.load(home.write("\n \n\nuser,item\na,x\n\nb,y\n"))
    assert pairs(home) == {("a", "x"), ("b", "y")}


def test_lone_quotes_between_tabs_are_text(home):
    data = 'id\ttitle\n1\t"Heroes\n2\t12" Vinyl\n3\t"say ""so"""\n4\t"two\tcells"\n5\tBye"\n'
    report = home.load(home.write(data), table="items")
    assert {key: row["title"] for key, row in items(home).items()} == {
        "1": '"Heroes', "2": '12" Vinyl', "3": 'say "so"', "4": "two cells", "5": 'Bye"',
    }  # fmt: skip
    assert (report.rows, report.rejected) == (5, {})


def test_rows_swallowed_by_a_quote_are_noticed_and_quotes_can_be_turned_off(home):
    data = 'id,title\n1,"Heroes\n2,Low\n3,Lodger"\n4,Scary\n'
    report = home.load(home.write(data), table="items")
    assert list(items(home)) == ["1", "4"]
    (warning,) = understood(report)["warnings"]
    assert warning.startswith("a quote joined the lines 2 to 4 into one row")
    home.load(home.write(data), table="items", quotes=False)
    assert items(home)["1"]["title"] == '"Heroes'
    assert len(items(home)) == 4


def test_a_cell_of_any_length_is_read(home):
    long = "x" * 200_000
    home.load(home.write(f'id,title\n1,"{long}\nend"\n2,"b"\n'), table="items")
    assert items(home)["1"]["title"] == f"{long} end"


# Which column is what


def test_an_id_with_a_name_comes_before_a_row_number(home):
    home.load(home.write("id,user_id,book_id,rating\n1,a,x,5\n2,b,y,4\n"))
    assert pairs(home) == {("a", "x"), ("b", "y")}


@pytest.mark.parametrize(
    ("header", "table", "message"),
    [
        ("user,book_id,film_id", "events", "'book_id' and 'film_id' could both be 'item'"),
        ("user,item,time,date", "events", "'time' and 'date' could both be 'at'"),
        ("user,item,item", "events", "'item' and 'item' could both be 'item'.*--column item=2"),
    ],
)
def test_columns_that_fit_equally_well_are_refused_with_both_named(home, header, table, message):
    row = ",".join("1" for _ in header.split(","))
    with pytest.raises(InputError, match=message):
        home.load(home.write(f"{header}\n{row}\n"), table=table)


def test_a_numbering_of_rows_beside_a_real_id_is_refused(home):
    file = home.write("id,book_id,title\n1,77,A\n2,31,B\n")
    with pytest.raises(InputError, match="'id' only numbers the rows, and 'book_id' may be"):
        home.load(file, table="items")
    home.load(file, table="items", columns={"id": "book_id"})
    assert sorted(items(home)) == ["31", "77"]
    home.load(home.write("id,artist_id,title\n8,77,A\n9,31,B\n"), table="items")
    assert {"8", "9"} <= set(items(home))  # no numbering: an id of its own


def test_a_column_named_0_and_a_file_without_a_header(home):
    home.load(home.write("0,1\na,x\n"), columns={"user": "0", "item": "1"})
    assert pairs(home) == {("a", "x")}
    with pytest.raises(InputError, match="the first line looks like data: --no-header"):
        home.load(home.write("1::1193::5::978300760\n"))
    with pytest.raises(InputError, match="no column 'listner' for user; did you mean 'listener'"):
        home.load(home.write("listener,track\na,x\n"), columns={"user": "listner", "item": 2})


# Ratings and kinds


@pytest.mark.parametrize("kind", [None, "Rating", "rating "])
def test_a_column_of_ratings_makes_ratings(home, kind):
    home.load(home.write("user,item,rating\na,x,1\na,y,5\n"), kind=kind)
    assert {row[2] for row in events(home)} == {"rating"}
    home.load(home.write("user,item,rating,type\nb,x,1,View\n"))
    assert {row[2] for row in events(home) if row[0] == "b"} == {"view"}  # rows say it themselves


def test_a_rating_off_the_scale_is_rejected_with_its_row(home):
    rows = [f"u{n},i{n % 40},{1 + n % 5}" for n in range(5000)]
    rows[1234] = "u1234,i34,45"
    report = home.load(home.write("user,item,rating\n" + "\n".join(rows) + "\n"))
    assert report.rejected == {"rating off the scale": 1}
    assert report.examples[0]["line"] == 1236
    assert understood(report)["taken"]["scale"].startswith(
        "1 to 5, of 5,000 ratings; outside it, and rejected: 1"
    )
    report = home.load(home.write("user,item,rating\na,x,7\n"), scale=(0, 10))
    assert report.rejected == {}


# Ids


def test_ids_that_went_through_a_spreadsheet_are_the_same_ids(home, tmp_path):
    report = home.load(home.write("user,item\n1.0,7.0\n2.0,8.0\n"))
    assert understood(report)["taken"]["item"].startswith("whole numbers written with '.0'")
    table = pa.table({"user": [1.0, 3.5], "item": [7, 8]})
    parquet.write_table(table, tmp_path / "more.parquet")
    home.load(tmp_path / "more.parquet")
    assert pairs(home) == {("1", "7"), ("2", "8"), ("3.5", "8")}
    home.load(home.write("user,item\n1.0,v\n1.1,v\n"))  # versions, not numbers
    assert {("1.0", "v"), ("1.1", "v")} <= pairs(home)


def test_objects_are_no_ids_but_can_be_pointed_into(home):
    rows = [{"user": {"id": f"u{n}"}, "item": "x"} for n in range(3)]
    file = home.write("\n".join(map(json.dumps, rows)) + "\n", "events.jsonl")
    with pytest.raises(InputError, match=r"a list or an object \(3\).*--column user=user\.id"):
        home.load(file)
    home.load(file, columns={"user": "user.id"})
    assert pairs(home) == {("u0", "x"), ("u1", "x"), ("u2", "x")}


def test_objects_in_parquet_likewise(home, tmp_path):
    table = pa.table({"user": [{"id": "a"}, {"id": "b"}], "item": ["x", "y"]})
    parquet.write_table(table, tmp_path / "e.parquet")
    with pytest.raises(InputError, match=r"--column user=user\.id"):
        home.load(tmp_path / "e.parquet")
    home.load(tmp_path / "e.parquet", columns={"user": "user.id"})
    assert pairs(home) == {("a", "x"), ("b", "y")}


# Forms of files


@pytest.mark.parametrize(
    "data",
    [
        "user,item\ra,x\rb,y\r",
        '[{"user": "a", "item": "x"},\n {"user": "b", "item": "y"}]',
        '[\n  {"user": "a", "item": "x"}, {"user": "b", "item": "y"}\n]\n',
    ],
)
def test_old_line_ends_and_json_arrays_are_read(home, data):
    home.load(home.write(data))
    assert pairs(home) == {("a", "x"), ("b", "y")}


def test_colons_are_told_from_the_bars_between_genres(home):
    home.load(
        home.write("1::A, one::x|y|z|q\n2::B::x\n3::C::z|q|y\n"),
        table="items", header=False, columns={"id": 1, "title": 2, "tags": 3},
    )  # fmt: skip
    assert items(home)["1"]["title"] == "A, one"
    assert home.store.counts()["item_tags"] == 8


def test_fixed_size_lists_are_lists(home, tmp_path):
    kinds = pa.array([["a", "b"], ["c", "d"]], pa.list_(pa.string(), 2))
    parquet.write_table(pa.table({"id": ["1", "2"], "tags": kinds}), tmp_path / "i.parquet")
    home.load(tmp_path / "i.parquet", table="items")
    assert home.store.counts()["item_tags"] == 4


def test_what_a_file_unpacks_to_is_bounded(home):
    home.write(gzip.compress(b"user,item\n" + b"\n" * 5_000_000), "bomb.csv.gz")
    with pytest.raises(InputError, match="more than 1,000,000 bytes.*max_unpacked_bytes"):
        home.load(home.folder / "bomb.csv.gz", max_unpacked_bytes=1_000_000)


@pytest.mark.parametrize(
    ("packed", "wording"),
    [(bz2.compress, "compressed with bzip2"), (lzma.compress, "compressed with xz"),
     (lambda data: pa.compress(data, codec="zstd", asbytes=True), "compressed with zstd"),
     (lambda data: b"PK\x03\x04" + data, "a zip archive or a spreadsheet")],
)  # fmt: skip
def test_what_is_packed_otherwise_is_refused_by_what_it_is(home, packed, wording):
    home.write(packed(b"user,item\na,x\n"), "events.csv")
    with pytest.raises(InputError, match=f"is {wording}; unpack it, or compress it with gzip"):
        home.load(home.folder / "events.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lines.jsonl.gz", b'{"user": "a", "item": "x"}\n' * 100_000),
        ("array.json.gz", b"[" + b'{"user": "a", "item": "x"},' * 100_000 + b'{"user": "a"}]'),
        ("blank.csv.gz", b"\n" * 5_000_000),
        ("blank.gz", b" " * 5_000_000),
    ],
)
def test_so_is_what_other_compressed_files_unpack_to(home, name, content):
    home.write(gzip.compress(content), name)
    with pytest.raises(InputError, match="more than 1,000,000 bytes.*max_unpacked_bytes"):
        home.load(home.folder / name, max_unpacked_bytes=1_000_000)


def test_a_long_text_said_often_in_a_parquet_file_counts_as_often(home, tmp_path):
    """A file of a few hundred kilobytes that holds a terabyte: kept once, said 100,000 times."""
    often = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000), ["x" * 10_000_000])
    bomb = pa.table({"user": pa.array(["a"] * 100_000), "item": often})
    parquet.write_table(bomb, tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 1_000_000
    with pytest.raises(InputError, match="more than 68,719,476,736 bytes.*max_unpacked_bytes"):
        home.load(tmp_path / "bomb.parquet")
    numbers = pa.table({"user": pa.array(["a"] * 300_000), "item": pa.array([7] * 300_000)})
    parquet.write_table(numbers, tmp_path / "rows.parquet")
    assert (tmp_path / "rows.parquet").stat().st_size < 100_000
    with pytest.raises(InputError, match="more than 1,000,000 bytes.*max_unpacked_bytes"):
        home.load(tmp_path / "rows.parquet", max_unpacked_bytes=1_000_000)
    assert home.load(tmp_path / "rows.parquet", max_rejects=1.0).rows == 300_000


def test_the_file_of_rejects_is_bounded(home):
    data = "user,item\n" + "a,x\n" + ",x\n" * 50
    report = home.load(home.write(data), max_rejects=1.0, max_rejects_kept=10)
    assert report.rejected == {"missing id": 50}
    with home.rejects.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 11
    assert rows[-1]["reason"] == "there are more, not written here"


# Times


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1959", "2001"], [-347_155_200, 978_307_200]),
        (["20200115", "19590817"], [1_579_046_400, -327_456_000]),
        (["-327456000000", "978307200000", "84000000000"], [-327_456_000, 978_307_200, 84_000_000]),
        (["978307200", "-327456000"], [978_307_200, -327_456_000]),
        (["2001-05-17", "2001-05", "1970-01-01"], [990_057_600, 988_675_200, 0]),
    ],
)
def test_the_form_of_a_time_is_told_by_its_column(home, cells, expected):
    rows = "".join(f"i{n},{cell}\n" for n, cell in enumerate(cells))
    report = home.load(home.write("id,created_at\n" + rows), table="items")
    assert report.rejected == {}
    assert [items(home)[f"i{n}"]["created_at"] for n in range(len(cells))] == expected


def test_absurd_times_are_rejected_and_never_1970(home):
    rows = "".join(f"i{n},{1_500_000_000 + n}\n" for n in range(50))
    file = home.write(f"id,created_at\n{rows}a,17\nb,99999999999\nc,next week\n")
    report = home.load(file, table="items", max_rejects=1.0)
    assert report.rejected == {"time in 1970": 1, "time in the future": 1, "not a time": 1}
    assert "2020-01-31T12:00:00Z" in report.as_dict()["hints"]["not a time"]


# Lists and paths


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        (["\"['rock', 'jazz']\"", "['rock']"], {}),
        (['"[""rock"", ""jazz""]"', '"[""rock""]"'], {}),
        (['"[rock, jazz]"', "[rock]"], {}),
        (['"rock, jazz"', "rock"], {}),
        (["rock;jazz", "rock"], {}),
        (["rock|jazz", "rock"], {}),
        (["rock/jazz", "rock"], {"separators": {"tags": "/"}}),
        (["rock/jazz", "rock"], {"list_separator": "/"}),
    ],
)
def test_lists_in_cells_are_recognised(home, cells, options):
    rows = "".join(f"{n},{cell}\n" for n, cell in enumerate(cells))
    home.load(home.write("id,tags\n" + rows), table="items", separator=",", **options)
    tags = [(row["item"], row["tag"]) for row in home.store.read("item_tags").to_pylist()]
    assert sorted(tags) == [("0", "jazz"), ("0", "rock"), ("1", "rock")]


def test_commas_that_may_be_lists_are_told_of(home):
    rows = "".join(f"{n};tag {n}\n" for n in range(10)) + "10;Crosby, Stills & Nash\n"
    report = home.load(home.write("id;tags\n" + rows), table="items")
    assert "--separator tags=','" in understood(report)["warnings"][0]
    assert home.store.counts()["item_tags"] == 11


def test_paths_make_a_hierarchy_of_domains(home):
    home.load(home.write("id,domains\n1,music > jazz > bop\n2,music > rock\n"), table="items")
    result = sorted((r["item"], r["domain"]) for r in home.store.read("item_domains").to_pylist())
    assert result == [
        ("1", "music"), ("1", "music > jazz"), ("1", "music > jazz > bop"),
        ("2", "music"), ("2", "music > rock"),
    ]  # fmt: skip


def test_right_to_left_marks_are_kept_and_shown_safely(home):
    from api.cli.output import plain

    title = "\u202eevil\u202c \u200fעברית"
    home.load(home.write(f"id,title\n1,{title}\n"), table="items")
    assert items(home)["1"]["title"] == title
    assert plain(title) == "\\u202eevil\\u202c \u200fעברית"


# Loads by number


def test_a_load_is_listed_and_taken_back(home):
    home.load(home.write("user,item\na,x\n"))
    report = home.load(home.write("user,item\na,x\na,y\nb,y\n", "more.csv"))
    _, second = home.store.loads()
    assert second.load == report.load == report.as_dict()["load"]
    assert second.about["files"] == [
        {"file": str(home.folder / "more.csv"), "rows": 3, "rejected": 0}
    ]
    assert home.store.undo_load(report.load)["events"] == 2
    assert events(home) == [("a", "x", "view", None, None, None, None)]
    assert set(items(home)) == {"x"}
