"""What the pages on exploring and on Neo4j promise runs, the latter against a real server."""

import re

import pytest
from neo4j_fixture import address
from test_documented import ROOT, run_file

__all__ = ["address"]  # a fixture


def test_every_command_of_the_page_on_exploring_runs(tmp_path, monkeypatch, capfd):
    run_file(ROOT / "docs" / "exploring.md", ["run"], tmp_path, monkeypatch)
    assert "Traceback" not in capfd.readouterr().err
    page = (ROOT / "docs" / "exploring.md").read_text()
    drawn = {path.name for path in (tmp_path / "docs" / "pictures").iterdir()}
    assert drawn == set(re.findall(r"\]\(pictures/(\S+)\)", page))
    assert (tmp_path / "domains.csv").read_text().startswith("domain,items,users\n")


@pytest.mark.neo4j
def test_every_command_of_the_page_on_neo4j_runs(address, tmp_path, monkeypatch, capfd):
    address.empty()
    for name in ("USER", "PASSWORD", "DATABASE"):  # the page says its own
        monkeypatch.delenv(f"NICHEGRAPH_NEO4J_{name}", raising=False)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "neo4j_password").write_text(f"{address.password}\n")
    run_file(ROOT / "docs" / "neo4j.md", ["run"], tmp_path, monkeypatch, server=address.uri)
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    assert "Goldberg" in out
