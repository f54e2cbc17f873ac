"""`docs/mistakes.md` keeps its word: each file there is answered by the message below it."""

import re
from pathlib import Path

import pytest

from api.cli.main import run

PAGE = Path(__file__).resolve().parents[1] / "docs" / "mistakes.md"
CASE = re.compile(
    r"^## (?P<title>.+?)\n\n```(?P<kind>csv|json) shown\n(?P<file>.*?)```\n\n"
    r"```text shown\n(?P<message>.*?)\n```",
    re.MULTILINE | re.DOTALL,
)
CASES = [match.groupdict() for match in CASE.finditer(PAGE.read_text(encoding="utf-8"))]


def test_every_block_with_a_message_is_tried():
    assert len(CASES) == PAGE.read_text(encoding="utf-8").count("```text shown") >= 10


@pytest.mark.parametrize("case", CASES, ids=[case["title"] for case in CASES])
def test_the_file_is_answered_by_the_message(case, tmp_path, capsys):
    file = tmp_path / f"data.{'jsonl' if case['kind'] == 'json' else case['kind']}"
    file.write_text(case["file"], encoding="utf-8")
    assert run(["--home", str(tmp_path / "home"), "load", str(file)]) == 1
    assert case["message"] in " ".join(capsys.readouterr().err.split())
