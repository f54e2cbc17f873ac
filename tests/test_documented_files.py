"""The files that the docs show are files that the program reads; they say what each key is for."""

import json
import re
from pathlib import Path

import pytest

from api.schemas import Subject
from graph.weighting_file import _File, load_weighting
from recommender.learning.model_file import load_table_settings
from recommender.overlay.retention_file import load_retention
from recommender.segments.settings import load_segment_settings
from recommender.serving.rules_file import load_rules

DOCS = Path(__file__).resolve().parents[1] / "docs"
READERS = {  # page, its TOML blocks in order -> what reads each
    "live.md": [load_retention],
    "requests.md": [load_rules],
    "reranking.md": [load_segment_settings],
    "tracking.md": [load_weighting],
    "tutorials/editor.md": [load_rules],
    "weighting.md": [load_weighting, load_table_settings],
}
CASES = [(page, at) for page, readers in READERS.items() for at in range(len(readers))]


def shown(page, language):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language} shown\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("page", "at"), CASES)
def test_what_is_shown_is_read(page, at, tmp_path):
    blocks = shown(page, "toml")
    assert len(blocks) == len(READERS[page])
    path = tmp_path / "shown.toml"
    path.write_text(blocks[at], encoding="utf-8")
    assert READERS[page][at](path)


def test_no_other_page_shows_a_file_of_ours():
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    with_toml = {page for page in pages if shown(page, "toml")}
    assert with_toml - set(READERS) == {"comparison.md"}  # that is Gorse's


def test_the_page_on_weighting_names_every_table():
    named = set(re.findall(r"^\[(\w+)\]", shown("weighting.md", "toml")[0], re.MULTILINE))
    assert named == set(_File.model_fields)


def test_the_filter_that_is_shown_is_one():
    (block,) = shown("requests.md", "json")
    assert Subject(user="alice", filter=json.loads(block)).request().include_seen
