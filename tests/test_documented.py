"""What the docs promise: every setting, command and route stands there, every command runs."""

import contextlib
import io
import os
import re
import shlex
import shutil
from pathlib import Path

import concept_pictures
import pytest

from api.app import create_app
from api.cli.main import cli, run
from api.settings import PREFIX, Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TAGS = {"run", "long", "shown"}
UNTAGGED = {"mermaid"}
GRAPH = ("exploring.md", "neo4j.md")  # whose commands ask the graph itself


def blocks(tag):
    """(file, place, text) of the console blocks with a tag."""
    for path in DOCS:
        for number, match in enumerate(FENCE.finditer(path.read_text(encoding="utf-8"))):
            if match[1] == "console" and match[2] == tag:
                yield path, number, match[3]


def commands(text):
    """What stands behind each $, with the lines that a quote or a backslash goes on over."""
    made: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        if made and is_open(made[-1]):
            made[-1] += f"\n{line}"
        elif line.startswith("$ "):
            made.append(line[2:])
    return made


def is_open(command):
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_says_whether_it_is_run(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n```") % 2 == (1 if text.startswith("```") else 0)
    for language, tag, body in FENCE.findall(text):
        assert language in UNTAGGED or tag in TAGS, body
        for line in commands(body):
            assert shlex.split(line, comments=True)


def cases(tag):
    """The files with such blocks, but those of `test_documented_graph.py`."""
    files = dict.fromkeys(path for path, _, _ in blocks(tag) if path.name not in GRAPH)
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in files]


def run_file(path, tags, tmp_path, monkeypatch, server=""):
    """A file's blocks run in order, in the default home, beside a copy of docs/example.

    `server` stands in for the address of a Neo4j server.
    """
    shutil.copytree(ROOT / "docs" / "example", tmp_path / "docs" / "example")
    (tmp_path / "docs" / "pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NICHEGRAPH_HOME", raising=False)
    every = [(number, body) for tag in tags for page, number, body in blocks(tag) if page == path]
    web = Web()
    for _, body in sorted(every):
        for line in commands(body):
            perform(line.replace("bolt://localhost:7687", server), monkeypatch, web)
    web.close()


class Web:
    """Stands in for the server that `nichegraph serve` starts and `curl` asks."""

    app = None

    def serve(self):
        self.close()
        self.app = create_app(load_settings())

    def ask(self, words):
        """One curl: -H and -d before or after the address; the answer must be one of success."""
        if self.app is None:
            self.serve()
        headers, data, url = {}, None, ""
        words = iter(words)
        for word in words:
            if word == "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            elif word == "-d":
                data = next(words)
            else:
                url = word
        target = url.partition("127.0.0.1:8000")[2]
        assert target, url
        method = "GET" if data is None else "POST"
        answer = self.app.test_client().open(target, method=method, data=data, headers=headers)
        assert answer.status_code in (200, 202), (url, answer.data)

    def close(self):
        if self.app is not None and "console" in self.app.extensions:
            self.app.extensions["console"].close()


def perform(line, monkeypatch, web):
    """Do what one line of a block says; it must succeed."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_0-9]+=.*", words[0].removeprefix("export ")):
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    name, *arguments = words
    if name == "export":
        perform(shlex.join(arguments) + " true", monkeypatch, web)
    elif name == "curl":
        web.ask(arguments)
    elif name == "nichegraph" and arguments[0] == "serve":
        web.serve()
    elif name != "true":
        assert name == "nichegraph", line
        target = None
        if ">" in arguments:
            *arguments, _, target = arguments
        with Path(target or os.devnull).open("w") as file, contextlib.ExitStack() as stack:
            if target:
                stack.enter_context(contextlib.redirect_stdout(file))
            monkeypatch.setattr("sys.stdin", io.StringIO())  # a prompt is left at once
            assert run(arguments) == 0, line


@pytest.mark.parametrize("path", cases("run"))
def test_every_documented_command_runs(path, tmp_path, monkeypatch, capfd):
    run_file(path, ["run"], tmp_path, monkeypatch)
    assert "Traceback" not in capfd.readouterr().err


def test_what_the_page_on_loading_shows_is_what_is_printed(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "docs" / "example", tmp_path / "docs" / "example")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "loading.md"
    first = commands(next(text for path, _, text in blocks("run") if path == page))[0]
    shown = next(text for path, _, text in blocks("shown") if path == page)
    assert run(shlex.split(first)[1:]) == 0
    untimed = [re.sub(r" in .* rows/s\n", "", text) for text in (capsys.readouterr().out, shown)]
    assert untimed[0] == untimed[1]


@pytest.mark.long
@pytest.mark.parametrize("path", cases("long"))
def test_every_long_command_runs(path, tmp_path, monkeypatch):
    run_file(path, ["run", "long"], tmp_path, monkeypatch)


def test_the_examples_on_the_first_page_are_the_files_beside_it():
    first = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs" / "example").glob("*.csv"):
        assert path.read_text(encoding="utf-8") in first


def prose(text):
    """A page without its blocks of code and what stands between backquotes."""
    return re.sub(r"`[^`]*`", "", FENCE.sub("", text))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_numbers_are_written_in_one_style(path):
    """0.17, 5%, 12,000: the rule stands in CONTRIBUTING.md."""
    text = prose(path.read_text(encoding="utf-8"))
    wrong = re.findall(r"(?<![\w.])\.\d\S*|\d\s%|(?<![\w.,-])\d{5,}(?![\w-])", text)
    assert not wrong


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/*.md")), ids=lambda path: path.name)
def test_every_page_begins_with_whom_it_is_for(path):
    title, empty, first, *_ = path.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ") and not empty and first.startswith("For ")


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text(encoding="utf-8"))):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            page = (path.parent / name) if name else path
            assert page.exists(), target
            assert not anchor or anchor in anchors(page), target


def anchors(page):
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(
        r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_results_begin_with_ten_figures_each_with_a_baseline_and_a_command():
    """The long tables stand behind."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    first = re.search(r"^\|.*\n(?:\|.*\n)+", text, re.MULTILINE)
    assert first is not None
    head, _, *rows = [line.strip("| ").split(" | ") for line in first[0].splitlines()]
    assert head == ["what was measured", "ours", "baseline", "better", "command"]
    assert len(rows) == 10
    for _, ours, baseline, better, command in rows:
        assert re.search(r"\d", ours) and re.search(r"\d", baseline)
        assert better in ("bigger", "smaller")
        assert command.startswith("`./run bench ")


def test_no_page_holds_two_versions_of_itself():
    """As a merge that was not finished leaves them."""
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    marks = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
    assert [path.name for path in files if marks.search(path.read_text(encoding="utf-8"))] == []


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


COMMANDS = [
    *(command.name for command in cli.registered_commands),
    *(
        f"{group.name} {command.name}"
        for group in cli.registered_groups
        for command in group.typer_instance.registered_commands
    ),
]


def test_every_command_stands_in_the_docs():
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    missing = [name for name in COMMANDS if f"`nichegraph {name}`" not in text]
    assert not missing


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_of_every_command_keeps_the_lines_of_its_examples(name, capsys):
    """A mark that typer does not see is printed, and joins them."""
    assert run([*name.split(), "--help"]) == 0
    assert "\\b" not in capsys.readouterr().out


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


def test_the_six_pictures_are_those_that_the_command_draws(tmp_path):
    """And each stands in the page, with the words that it has for who cannot see it."""
    concept_pictures.write(tmp_path)
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = concept_pictures.FOLDER.iterdir()
    assert drawn == {path.name: path.read_text(encoding="utf-8") for path in kept}
    shown = {name: words for words, name in re.findall(r"!\[(.*)\]\(\S+/(\w+\.svg)\)", page)}
    labels = {name: re.search('aria-label="(.*?)"', text)[1] for name, text in drawn.items()}
    assert shown == labels
