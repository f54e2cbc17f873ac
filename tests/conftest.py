"""What many tests share: the `--long` counts, and one small release made from planted niches."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from api.observability import defects
from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import Synthetic, generate
from recommender.inbox.journal import Journal
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.releases.home import Home
from recommender.serving.recommend import Recommender

NOW = 1_760_000_000


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the full counts the issues name")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="full counts: ./run test --long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter):
    """What tests counted, a line each: see `record_property("counted", …)`."""
    lines = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "counted"
    ]
    if lines:
        terminalreporter.section("counted")
        terminalreporter.write("\n".join(lines) + "\n")


@pytest.fixture(autouse=True)
def no_defect():
    """Servers go on where a promise breaks for one item; a test that makes them do so fails."""
    before = dict(defects)
    yield
    assert dict(defects) == before


@pytest.fixture
def journal(tmp_path):
    """An empty journal."""
    with closing(Journal(tmp_path / "journal.sqlite")) as opened:
        yield opened


@pytest.fixture
def store(tmp_path):
    """An empty store in a file."""
    with closing(EmbeddedStore(tmp_path / "store.sqlite")) as opened:
        yield opened


@pytest.fixture
def home(planted_home, tmp_path) -> Home:
    """A home with a copy of the planted releases, with keys, state and journal of its own."""
    own = Home(tmp_path / "home").create()
    shutil.copytree(planted_home.releases, own.releases, dirs_exist_ok=True)
    return own


@pytest.fixture(scope="session")
def planted() -> Synthetic:
    """3,000 events among planted niches whose answers are known."""
    return generate(3000, seed=1)


@pytest.fixture(scope="session")
def planted_home(planted, tmp_path_factory) -> Iterator[Home]:
    """A home with the planted catalogue in an embedded store and one release; do not change it.

    Tests copy it and rely on what it holds; servers and commands take `used_home`. Where
    `PLANTED_HOME` names a folder it is made there once and used again.
    """
    kept = os.environ.get("PLANTED_HOME")
    home = Home(Path(kept) if kept else tmp_path_factory.mktemp("planted"))
    if not (home.releases / "CURRENT").exists():
        home.create()
        store = EmbeddedStore(home.store)
        for batch in planted.batches():
            store.apply(batch)
        refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
        store.close()
    before = _often_written(home)
    yield home
    assert _often_written(home) == before, f"a test wrote into {home.folder}: use used_home"


def _often_written(home: Home) -> dict[str, bytes]:
    """What servers and commands write: the inbox, the audit log, and what is served, by path."""
    folders = home.inbox.parent, home.audit, home.releases
    inside = (path for folder in folders for path in folder.glob("*"))
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in inside}


@pytest.fixture(scope="session")
def used_home(planted_home, tmp_path_factory) -> Home:
    """A copy of it for servers and commands: they may write, and nobody relies on what they do."""
    return Home(shutil.copytree(planted_home.folder, tmp_path_factory.mktemp("used") / "home"))


@pytest.fixture(scope="session")
def recommender(planted_home) -> Recommender:
    """Serves the planted release."""
    from recommender.serving.live import Live

    return Live(Home(Path(planted_home.folder))).recommender()
