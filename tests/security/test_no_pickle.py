"""Nothing that is read can run code: no pickle, and numpy and torch are told to take none."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNS_CODE = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
TOLD = {"np.load": ("allow_pickle", False), "torch.load": ("weights_only", True)}


def trees():
    for room in ("graph", "embeddings", "loaders", "recommender", "api", "clients"):
        for path in (ROOT / room).rglob("*.py"):
            if "node_modules" not in path.parts:
                yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_no_module_imports_what_unpickles():
    for path, tree in trees():
        for node in ast.walk(tree):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            assert not {str(name).partition(".")[0] for name in names} & RUNS_CODE, path


def test_arrays_and_weights_are_loaded_as_data():
    calls = 0
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in TOLD:
                name, value = TOLD[ast.unparse(node.func)]
                given = {each.arg: ast.unparse(each.value) for each in node.keywords}
                assert given.get(name) == str(value), f"{path}:{node.lineno}"
                calls += 1
    assert calls >= 2
