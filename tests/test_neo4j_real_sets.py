"""Real data sets through the command line, on Neo4j and in one file: the same release."""

import pytest
from data import shared_data
from neo4j_fixture import address  # noqa: F401 - fixture

from api.cli.main import run
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from recommender.releases.home import Home
from recommender.serving.live import Live

pytestmark = [pytest.mark.neo4j, pytest.mark.long]


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("citeulike-a", ["--format", "citeulike"]),
        ("gowalla-lightgcn", ["--format", "lightgcn"]),
    ],
)
def test_a_real_set_gives_the_same_release_from_either_store(
    address, tmp_path, monkeypatch, capsys, name, load
):
    folder = shared_data(name)
    address.empty()
    homes = []
    for store in ("embedded", address.uri):
        monkeypatch.setenv("NICHEGRAPH_STORE", store)
        monkeypatch.setenv("NICHEGRAPH_NEO4J_USER", address.user)
        monkeypatch.setenv("NICHEGRAPH_NEO4J_PASSWORD", address.password)
        monkeypatch.setenv("NICHEGRAPH_NEO4J_DATABASE", address.database)
        monkeypatch.setenv("NICHEGRAPH_NEO4J_DEADLINE", "60")
        homes.append(Home(tmp_path / store.split(":")[0]))
        command = ["--home", str(homes[-1].folder)]
        assert run([*command, "load", str(folder), *load]) == 0, capsys.readouterr().err
        written = ["--write-back"] if store != "embedded" else []
        assert run([*command, "refresh", "--preset", "fast", *written]) == 0
        assert run([*command, "status"]) == 0
    file, server = EmbeddedStore(homes[0].store), address.store(deadline=60.0)
    wanted = file.counts()
    assert server.counts() == wanted
    assert wanted["events"] > 200_000
    assert take_snapshot(server).fingerprint == take_snapshot(file).fingerprint
    file.close()
    server.close()
    by_file, by_server = (Live(home).recommender().release for home in homes)
    assert by_file.name == by_server.name
    assert set(by_file.arrays) == set(by_server.arrays)
    for key, array in by_file.arrays.items():
        assert array.tobytes() == by_server.arrays[key].tobytes(), key  # NaN is NaN
    print(f"{name}: {wanted} in release {by_server.name}")
