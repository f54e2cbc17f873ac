"""The real data sets next to the project, read as a user would, and split into two parts."""

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from graph.snapshot import GraphSnapshot, take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from loaders.format import Options
from loaders.ingest import load
from recommender.evaluation.truth import HeldOut, cut, given_part
from recommender.learning.build import RefreshConfig

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NOW = 1_760_000_000


class DataSet(NamedTuple):
    """Where a set lies and how it is read; `test` names the file of a given split."""

    folder: str
    format: str
    train: str = ""
    test: str = ""
    ordered: bool = False  # whether lists are in order of time


SETS = {
    "movielens": DataSet("ml-latest-small", "movielens"),
    "lastfm": DataSet("hetrec2011-lastfm-2k", "lastfm"),
    "movietweetings": DataSet("movietweetings-100k", "movietweetings"),
    "citeulike": DataSet("citeulike-a", "citeulike"),
    "gowalla": DataSet("gowalla-lightgcn", "lightgcn", "train.txt.gz", "test.txt", ordered=True),
}
SEQUENCES = {
    "beauty": DataSet("sequences", "lightgcn", "amazon-beauty-5core.txt", ordered=True),
    "videogames": DataSet("sequences", "lightgcn", "amazon-videogames-5core.txt", ordered=True),
}
"""Lists in the order of time; `bench sessions` asks for the last item of each, as papers do."""
ALL = SETS | SEQUENCES


def chosen(names: list[str] | None) -> list[str]:
    """The sets asked for, by short name or folder, else all of `SETS` here; small ones first."""
    of_folder = {data_set.folder: name for name, data_set in SETS.items()}
    wanted = [of_folder.get(name, name) for name in names or SETS]
    unknown = sorted(set(wanted) - set(ALL))
    if unknown:
        raise SystemExit(f"--set: no set {', '.join(unknown)}; there are {', '.join(ALL)}")
    here = [name for name in wanted if (DATA / ALL[name].folder).is_dir()]
    if not here:
        raise SystemExit("none of these sets lies in ../shared/data")
    return here


def all_events(name: str, home: Path) -> GraphSnapshot:
    """Everything of a set but a given test part; `home` is a folder for the store."""
    data_set = ALL[name]
    return _snapshot(DATA / data_set.folder / data_set.train, data_set, home / "train")


def parts(name: str, config: RefreshConfig, home: Path) -> tuple[GraphSnapshot, HeldOut]:
    """The part to learn from and the part to be found: the given split, else our own."""
    data_set, snapshot = ALL[name], all_events(name, home)
    if not data_set.test:
        return cut(snapshot, config, None, now=NOW)
    test_part = _snapshot(DATA / data_set.folder / data_set.test, data_set, home / "test")
    return snapshot, given_part(test_part, config, now=NOW, train=snapshot)


def _snapshot(path: Path, of: DataSet, home: Path) -> GraphSnapshot:
    home.mkdir(parents=True, exist_ok=True)
    with closing(EmbeddedStore(home / "store.sqlite")) as store:
        load(
            [path],
            of.format,
            store,
            staging_folder=home / "staging",
            rejects_file=home / "rejects.csv",
            now=NOW,
            options=Options(ordered=of.ordered),
        )
        return take_snapshot(store)
