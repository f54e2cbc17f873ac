"""Every public data set loads with the counts its publishers state, nothing lost unexplained."""

from pathlib import Path

import pytest

from api.cli.main import run
from graph.stores.embedded_store import EmbeddedStore
from loaders.format import Options
from loaders.ingest import load, read_tables
from loaders.registry import FORMATS, sniff
from tests.data import shared_data

NOW = 1_790_000_000


@pytest.fixture
def loaded(tmp_path):
    """Load a data set into a fresh store: report and store."""
    store = EmbeddedStore(tmp_path / "graph.sqlite")

    def run(form: str, name: str):
        report = load(
            [shared_data(name)],
            form,
            store,
            staging_folder=tmp_path / "staging",
            rejects_file=tmp_path / "rejects.csv",
            now=NOW,
        )
        return report, store

    yield run
    store.close()


def rows_of(report) -> dict[str, int]:
    return {Path(file.file).name: file.rows for file in report.files}


def test_citeulike_has_the_counts_of_its_readme(loaded):
    report, store = loaded("citeulike", "citeulike-a")
    assert rows_of(report)["users.dat"] == 204_986
    assert rows_of(report)["item-tag.dat"] == 239_253
    assert rows_of(report)["titles.txt"] == 16_980
    assert report.rejected == {}
    totals = report.totals
    assert (totals["users"], totals["items"], totals["events"]) == (5_551, 16_980, 204_986)
    assert totals["item_tags"] == 239_253
    # each of the 44,757 citations is stated by both papers; 96 papers cite themselves
    assert totals["item_relations"] + report.self_relations == 44_757
    assert report.self_relations == 96
    assert report.duplicates == {"item_relations": 44_661}
    untagged = totals["items"] - len(store.read("item_tags").column("item").unique())
    assert untagged == 3_461
    titles = {row["id"]: row["title"] for row in store.read("items").slice(0, 3).to_pylist()}
    assert titles["0"] == "The metabolic world of Escherichia coli is not small"
    first = store.user_events("0")
    assert len(first) == 70  # the first number of its line
    assert {"495", "1631"} <= set(first.column("item").cast("string").to_pylist())


def test_lastfm_rejects_five_impossible_dates_and_keeps_the_rest(loaded):
    report, store = loaded("lastfm", "hetrec2011-lastfm-2k")
    assert rows_of(report) == {
        "artists.dat": 17_632,
        "user_friends.dat": 25_434,
        "user_artists.dat": 92_834,
        "user_taggedartists.dat.gz": 186_479,
    }
    assert report.rejected == {"negative time": 4, "time before 1990": 1}
    assert report.totals["users"] == 1_892
    assert report.totals["events"] == 92_834 + 186_479 - 5
    assert report.totals["user_relations"] == 25_434
    plays = store.user_events("2").to_pylist()
    assert {"item": "51", "kind": "play", "value": 13_883.0} in [
        {key: row[key] for key in ("item", "kind", "value")} for row in plays
    ]
    tagged = [row for row in plays if row["kind"] == "tag" and row["item"] == "52"]
    assert {"chillout", "downtempo"} <= {row["tag"] for row in tagged}  # tags 13 and 15
    assert {row["at"] for row in tagged} == {1_238_544_000}  # 2009-04-01


def test_movielens_has_the_counts_of_its_readme(loaded):
    report, store = loaded("movielens", "ml-latest-small")
    assert rows_of(report) == {"movies.csv": 9_742, "ratings.csv": 100_836, "tags.csv": 3_683}
    assert (report.rejected, report.duplicates) == ({}, {})
    assert report.totals["users"] == 610
    assert report.totals["items"] == 9_742
    assert report.totals["events"] == 100_836 + 3_683
    genres = store.read("item_tags").to_pylist()
    toys = {row["tag"] for row in genres if row["item"] == "1"}
    assert toys == {"Adventure", "Animation", "Children", "Comedy", "Fantasy"}
    assert {row["category"] for row in genres} == {"genre"}
    assert "(no genres listed)" not in {row["tag"] for row in genres}
    (film,) = (row for row in store.read("items").to_pylist() if row["id"] == "1")
    assert (film["title"], film["attributes"]) == ("Toy Story (1995)", '{"year": 1995}')


def test_movietweetings_keeps_the_zeros_of_its_ids(loaded):
    report, store = loaded("movietweetings", "movietweetings-100k")
    assert rows_of(report) == {"movies.dat": 10_506, "ratings.dat": 100_000}
    assert (report.rejected, report.duplicates) == ({}, {})
    assert report.totals["events"] == 100_000
    assert report.totals["items"] == 10_506
    ids = {row["id"]: row["title"] for row in store.read("items").to_pylist()}
    assert ids["0002844"] == "Fantômas - À l'ombre de la guillotine (1913)"


def test_gowalla_has_the_counts_of_its_readme(loaded):
    report, _ = loaded("lightgcn", "gowalla-lightgcn")
    assert rows_of(report)["train.txt.gz"] == 810_128
    assert rows_of(report)["test.txt"] == 217_242
    assert (report.rejected, report.duplicates) == ({}, {})
    totals = report.totals
    assert (totals["users"], totals["items"]) == (29_858, 40_981)
    assert totals["events"] == 810_128 + 217_242


@pytest.mark.parametrize(
    ("form", "name", "file", "pairs"),
    [
        ("citeulike", "citeulike-a", "users.dat", 204_986),
        ("movielens", "ml-latest-small", "ratings.csv", 100_836),
        ("movietweetings", "movietweetings-100k", "ratings.dat", 100_000),
        ("lastfm", "hetrec2011-lastfm-2k", "user_artists.dat", 92_834),
        ("lightgcn", "gowalla-lightgcn", "test.txt", 217_242),
    ],
)
def test_a_single_file_of_interactions_under_any_name_is_read(form, name, file, pairs, tmp_path):
    """What `evaluate --train FILE --test FILE` needs."""
    copy = tmp_path / "part.txt"
    copy.write_bytes((shared_data(name) / file).read_bytes())
    tables, rejects = read_tables([copy], form, now=NOW)
    assert set(tables) == {"events"}
    assert tables["events"].num_rows == pairs
    assert not rejects


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("citeulike", "citeulike-a"),
        ("movielens", "ml-latest-small"),
        ("movietweetings", "movietweetings-100k"),
        ("lastfm", "hetrec2011-lastfm-2k"),
    ],
)
def test_items_come_alone_from_a_folder_or_a_file(form, name, tmp_path):
    """What `evaluate --items FILE` needs."""
    folder = shared_data(name)
    tables, _ = read_tables([folder], form, now=NOW, options=Options(part="items"))
    assert "events" not in tables
    assert tables["items"].num_rows > 9_000
    first = {"citeulike": "titles.txt", "movielens": "movies.csv"}.get(form)
    if first:
        alone, _ = read_tables([folder / first], form, now=NOW, options=Options(part="items"))
        assert alone["items"].num_rows == tables["items"].num_rows


def test_each_data_set_is_recognised():
    """The hint for those who give the wrong format."""
    for form, name in (
        ("citeulike", "citeulike-a"),
        ("lastfm", "hetrec2011-lastfm-2k"),
        ("movielens", "ml-latest-small"),
        ("movietweetings", "movietweetings-100k"),
        ("lightgcn", "gowalla-lightgcn"),
    ):
        assert sniff(shared_data(name)) == form


def test_who_gives_no_format_is_told_which_it_looks_like(tmp_path, capsys):
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,4,9\n")
    (tmp_path / "ml" / "movies.csv").write_text("movieId,title,genres\n2,Two,Drama\n")
    assert run(["--home", str(tmp_path / "home"), "load", str(tmp_path / "ml"), "--dry-run"]) == 1
    assert "looks like the format movielens: add --format movielens" in capsys.readouterr().err
    (tmp_path / "plain.csv").write_text("who,what\na,b\n")
    assert run(["--home", str(tmp_path / "home"), "load", str(tmp_path / "plain.csv")]) == 1
    assert "looks like" not in capsys.readouterr().err


def test_every_format_states_its_source_and_licence():
    import importlib

    for name in set(FORMATS) - {"table"}:
        story = importlib.import_module(f"loaders.{name}").__doc__
        assert "Source: " in story, name
        assert "Licence:" in story, name
