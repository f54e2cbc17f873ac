"""What the docs promise: every setting, command and route stands there, every command runs."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from api.app import create_app
from api.cli.main import cli, run
from api.settings import PREFIX, Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TAGS = {"run", "long", "shown"}
UNTAGGED = {"mermaid"}


def blocks(tag):
    """(file, place, text) of the console blocks with a tag."""
    for path in DOCS:
        for place, found in enumerate(FENCE.finditer(path.read_text(encoding="utf-8"))):
            if found[1] == "console" and found[2] == tag:
                yield path, place, found[3]


def commands(text):
    joined = text.replace("\\\n", " ")
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_says_whether_it_is_run(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n```") % 2 == (1 if text.startswith("```") else 0)
    for language, tag, body in FENCE.findall(text):
        assert language in UNTAGGED or tag in TAGS, body
        for line in commands(body):
            assert shlex.split(line)


def cases(tag):
    files = dict.fromkeys(path for path, _, _ in blocks(tag))
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in files]


def run_file(path, tags, tmp_path, monkeypatch):
    """A file's blocks run in order, in one home, beside a copy of docs/example."""
    shutil.copytree(ROOT / "docs" / "example", tmp_path / "docs" / "example")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NICHEGRAPH_HOME", str(tmp_path / "home"))
    every = [(place, body) for tag in tags for found, place, body in blocks(tag) if found == path]
    for _, body in sorted(every):
        for line in commands(body):
            name, *arguments = shlex.split(line)
            assert name == "nichegraph", line
            assert run(arguments) == 0, line


@pytest.mark.parametrize("path", cases("run"))
def test_every_documented_command_runs(path, tmp_path, monkeypatch, capfd):
    run_file(path, ["run"], tmp_path, monkeypatch)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize("path", cases("long"))
def test_every_long_command_runs(path, tmp_path, monkeypatch):
    run_file(path, ["run", "long"], tmp_path, monkeypatch)


def test_the_examples_in_the_readme_are_the_files_beside_it():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs" / "example").glob("*.csv"):
        assert path.read_text(encoding="utf-8") in readme


def test_every_setting_stands_in_the_docs_with_its_default_and_help():
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert field.description in line
        if isinstance(field.default, bool):
            assert f"`{str(field.default).lower()}`" in line
        elif field.default not in (None, ""):
            assert f"`{field.default}`" in line
    assert f"{PREFIX}PORT" in text


def test_every_command_stands_in_the_docs():
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    names = [f"nichegraph {command.name}" for command in cli.registered_commands]
    for group in cli.registered_groups:
        names += [
            f"nichegraph {group.name} {command.name}"
            for command in group.typer_instance.registered_commands
        ]
    missing = [name for name in names if f"`{name}`" not in text]
    assert not missing


def test_every_route_stands_in_the_docs(tmp_path):
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    document = create_app(load_settings(tmp_path)).api_doc
    routes = [
        f"`{method.upper()} {path}`"
        for path, methods in document["paths"].items()
        for method in methods
    ]
    assert len(routes) >= 9
    missing = [route for route in routes if route not in text]
    assert not missing


@pytest.mark.parametrize(
    "folder", ["graph", "embeddings", "loaders", "recommender", "api", "benchmarks"]
)
def test_every_file_stands_in_the_map(folder):
    text = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    part = text.partition(f"## {folder}/\n")[2].partition("\n## ")[0]
    pattern = "*.py" if folder == "api" else "**/*.py"  # commands and routes stand there as folders
    files = (ROOT / folder).glob(pattern)
    here = [path.relative_to(ROOT / folder).as_posix() for path in files if path.stem != "__init__"]
    assert set(re.findall(r"`([\w/]+\.py)`", part)) == set(here)
