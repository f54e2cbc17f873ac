"""Attributes of items and users: which are loaded, of what type, and from several files."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from graph.errors import InputError
from tests.test_loading import home, items, pairs, understood  # noqa: F401


def test_left_over_columns_are_attributes_only_when_asked_for(home):
    data = "id,title,price,owner_email,seller_id\n1,A,12.5,x@y.z,u1\n"
    report = home.load(home.write(data), table="items")
    assert items(home)["1"]["attributes"] is None
    assert understood(report)["ignored"] == ["price", "owner_email", "seller_id"]
    home.load(home.write(data), table="items", attributes=("price",))
    assert json.loads(items(home)["1"]["attributes"]) == {"price": 12.5}
    report = home.load(home.write("id,email\n1,x@y.z\n"), table="items", attributes="all")
    assert "may name a person" in understood(report)["warnings"][0]
    with pytest.raises(InputError, match="no free column 'prize'; did you mean 'price'"):
        home.load(home.write(data), table="items", attributes=("prize",))


def test_a_column_that_is_asked_for_is_an_attribute_whatever_else_its_name_could_mean(home):
    data = "id,name,released,genre,artist_id\n1,A,1979-05-25,rock,7\n2,B,1985-02-20,jazz,8\n"
    report = home.load(home.write(data), table="items", columns={"id": "id"})
    guessed = {"created_at": "released", "tags:genre": "genre"}
    assert guessed.items() <= understood(report)["columns"].items()
    wanted = ("released", "genre", "artist_id")
    home.load(home.write(data), table="items", attributes=wanted, replace=True)
    item = items(home)["1"]
    assert json.loads(item["attributes"]) == {
        "released": "1979-05-25", "genre": "rock", "artist_id": 7,
    }  # fmt: skip
    assert (item["created_at"], item["title"]) == (None, "A")
    with pytest.raises(InputError, match="no free column 'id'"):
        home.load(home.write(data), table="items", attributes=("id",))


def test_an_attribute_of_items_that_holds_ids_of_users_is_told_of(home):
    home.load(home.write("user,item\nanna,a\nben,b\ncem,c\n"))
    file = home.write("id,by\na,anna\nb,ben\nc,cem\n")
    report = home.load(file, table="items", attributes=("by",))
    assert "'by' holds ids of users" in understood(report)["warnings"][0]


TYPED = [
    {"price": 12, "new": True, "day": "2020-01-31", "zip": "01234", "size": "XL"},
    {"price": 0.5, "new": False, "day": "1959-08-17", "zip": "99999", "size": "7"},
]


def test_a_cell_of_several_words_is_a_list_where_it_is_called_one(home):
    data = "id,likes\na,jazz|tea|jazz\nb,\"['rock', 'tea']\"\nc,\nd,[1]\n"
    home.load(home.write(data), table="items", columns={"attr:likes:list": "likes"})
    likes = {name: json.loads(i["attributes"] or "{}") for name, i in items(home).items()}
    assert likes == {
        "a": {"likes": ["jazz", "tea"]},
        "b": {"likes": ["rock", "tea"]},
        "c": {},
        "d": {"likes": ["1"]},
    }


def test_attributes_have_the_same_types_from_every_format(home, tmp_path):
    names = list(TYPED[0])
    text = io_csv(
        [["id", *names], *([str(n), *map(str, row.values())] for n, row in enumerate(TYPED))]
    )
    rows = [{"id": n} | row for n, row in enumerate(TYPED)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    files = [
        home.write(text, "items.csv"),
        home.write("\n".join(map(json.dumps, rows)), "items.jsonl"),
        tmp_path / "i.parquet",
    ]
    for file in files:
        home.load(file, table="items", attributes="all")
        result = [json.loads(items(home)[str(n)]["attributes"]) for n in range(2)]
        assert result == TYPED, file


def io_csv(rows):
    return "\n".join(",".join(row) for row in rows) + "\n"


def test_the_type_of_an_attribute_can_be_said(home):
    data = "id,preis,code\n1,12,7\n2,n/a,8\n" + "".join(f"{n},{n},9\n" for n in range(3, 20))
    content = {"attr:price:number": "preis", "attr:code:text": "code"}
    report = home.load(home.write(data), table="items", columns=content)
    assert json.loads(items(home)["1"]["attributes"]) == {"price": 12, "code": "7"}
    assert json.loads(items(home)["2"]["attributes"]) == {"code": "8"}
    expected = "1 of the values of 'price' cannot be read as number, such as 'n/a': left out"
    assert expected in understood(report)["warnings"]
    report = home.load(home.write(data), table="items", attributes=("preis",))
    assert "--column attr:preis:number=preis" in understood(report)["warnings"][0]


def attributes_of(home, table="items"):
    rows = home.store.read(table).to_pylist()
    return {row["id"]: json.loads(row["attributes"]) for row in rows if row["attributes"]}


def test_attributes_of_a_second_file_are_added(home):
    """They took the place of all that the item had, without a word."""
    kept = {"table": "items", "attributes": "all"}
    home.load(home.write("id,price,size\nx,5,3\ny,7,4\n"), **kept)
    second = home.write("id,colour,size\nx,red,9\nz,blue,1\n")
    merged = {
        "x": {"colour": "red", "price": 5, "size": 9},
        "y": {"price": 7, "size": 4},
        "z": {"colour": "blue", "size": 1},
    }
    for _ in range(2):  # the second time changes nothing
        home.load(second, **kept)
        assert attributes_of(home) == merged
    home.load(home.write("id,colour\nx,green\ny,grey\nz,blue\n"), replace=True, **kept)
    left = {"x": {"colour": "green"}, "y": {"colour": "grey"}, "z": {"colour": "blue"}}
    assert attributes_of(home) == left


def test_users_keep_what_they_had_said(home):
    kept = {"table": "users", "attributes": "all"}
    home.load(home.write("id,country\nann,DE\n"), **kept)
    home.load(home.write("id,age\nann,40\n"), **kept)
    assert attributes_of(home, "users") == {"ann": {"age": 40, "country": "DE"}}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_ids_that_became_fractions_are_mended_and_that_is_said(home, suffix):
    file = home.folder / f"events.{suffix}"
    if suffix == "csv":
        file.write_text("user,item\n1.0,x\n2.0,y\n")
    else:
        parquet.write_table(pa.table({"user": [1.0, 2.0], "item": ["x", "y"]}), file)
    report = home.load(file)
    assert "'.0' at the end, which is removed" in understood(report)["taken"]["user"]
    assert pairs(home) == {("1", "x"), ("2", "y")}
