"""How many small changes to the code do its tests notice? A seeded sample, each run by itself.

Every change is made in a copy of the project and run against the tests that concern its module,
in a process of its own. It is killed when a test fails, when nothing can be imported any more, or
when the tests take several times as long as before. Changes that survive are listed, for a look.
`_mutations.py` says which changes there are.
"""

import argparse
import importlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._mutations import Mutation, mutations

ROOT = Path(__file__).resolve().parents[1]
RANKING, RELEASES = "recommender/ranking", "recommender/releases"
LISTS = ("recommend", "requests")  # tests that ask for whole lists
TESTS: dict[str, tuple[str, ...]] = {
    f"{RANKING}/candidates.py": ("ranker", "interests", *LISTS),
    f"{RANKING}/contexts.py": ("contexts",),
    f"{RANKING}/conditions.py": ("filters",),
    f"{RANKING}/filter_language.py": ("filters",),
    f"{RANKING}/filters.py": ("filters",),
    f"{RANKING}/interests.py": ("interests",),
    f"{RANKING}/pages.py": ("pages", "requests"),
    f"{RANKING}/ranker.py": ("ranker", *LISTS, "overlay", "interests", "few"),
    f"{RANKING}/request.py": ("filters", *LISTS, "every_door"),
    f"{RANKING}/rerank.py": ("rerank", "profiles"),
    f"{RANKING}/sources.py": ("ranker", *LISTS, "new_items", "few"),
    "embeddings/item_item/few.py": ("few",),
    "embeddings/item_item/mixture.py": ("choice_by_worth", "few"),
    "embeddings/item_item/short.py": ("few",),
    "graph/sqlite_file.py": ("encrypted_inbox", "journal", "embedded_store"),
    "graph/weighting.py": ("weighting",),
    f"{RELEASES}/contents.py": ("release",),
    "graph/durable.py": ("release",),
    f"{RELEASES}/graph_arrays.py": ("release_facts", "filters", "recommend"),
    f"{RELEASES}/publishing.py": ("release",),
    f"{RELEASES}/release.py": ("release", *LISTS, "few"),
    f"{RELEASES}/rows.py": ("release", *LISTS),
    "recommender/serving/subject.py": ("requests", "recommend", "new_items", "interests"),
    "recommender/serving/subjects.py": ("requests", "recommend", "new_items", "interests", "few"),
}
NOT_IN_REFRESH = (RANKING, "recommender/serving")  # a fast refresh does without these
QUICK = "not at_any_moment"  # without the tests that kill processes
PATIENCE, ROUNDS = 60.0, 2.0  # limit of the tests: seconds, plus so many times as long as unchanged


@dataclass(frozen=True)
class Mutant:
    """A change of a file."""

    file: str
    mutation: Mutation

    @property
    def name(self) -> str:
        """File, line and change, the same in every run."""
        change = self.mutation
        return f"{self.file}:{change.line} {change.before!r} -> {change.after!r}"


def main(arguments: list[str]) -> dict[str, Any]:
    """Run a sample; `--kept FILE` continues where an earlier run stopped."""
    parser = argparse.ArgumentParser(prog="bench mutants")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", action="append", dest="files", help="only of this one")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then it stops")
    parser.add_argument("--kept", type=Path, help="a file that results are added to and read from")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    chosen = sample(options.files or list(TESTS), options.count, options.seed)
    known = dict(_read(options.kept)) if options.kept is not None else {}
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory(prefix="nichegraph-mutants-") as folder:
        beside = options.kept and options.kept.with_name(f"{options.kept.name}.tree")
        runner = Runner(beside or Path(folder))
        for file in dict.fromkeys(mutant.file for mutant in chosen):
            waiting = [m for m in chosen if m.file == file and m.name not in known]
            if waiting and file not in known and time.monotonic() < end:
                for mutant in runner.killed_in_forks(file, waiting):
                    known[mutant.name] = "killed"
                    _keep(options.kept, mutant.name, "killed")
                _keep(options.kept, file, "tried in forks")
        for number, mutant in enumerate(chosen, 1):
            if mutant.name in known or time.monotonic() > end:
                continue
            known[mutant.name] = outcome = runner.outcome(mutant)
            print(f"{number}/{len(chosen)} {outcome}: {mutant.name}", file=sys.stderr)
            _keep(options.kept, mutant.name, outcome)
    return _summary(chosen, known)


def sample(files: list[str], count: int, seed: int) -> list[Mutant]:
    """Some changes of some files, each as likely as any other."""
    every = [
        Mutant(file, change)
        for file in files
        for change in mutations((ROOT / file).read_text(encoding="utf-8"))
    ]
    return random.Random(seed).sample(every, min(count, len(every)))


class Runner:
    """Runs tests over a changed copy of the project."""

    def __init__(self, folder: Path) -> None:
        """Copy the files that git knows; numba keeps what it compiles beside the copy."""
        self._tree, self._cache = folder / "tree", folder / "numba"
        self._planted = folder / "planted"
        shutil.rmtree(self._tree, ignore_errors=True)
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (self._tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self._tree / name)
        self._usual = folder / "usual.json"  # seconds of the tests of each file, unchanged
        os.environ |= {"NUMBA_CACHE_DIR": str(self._cache), "OMP_NUM_THREADS": "1"}
        _import_others()

    def killed_in_forks(self, file: str, mutants: list[Mutant]) -> list[Mutant]:
        """The changes of a file that are noticed in forks; `outcome` decides about the others."""
        reading, writing = os.pipe()
        self._lend_home(file)
        child = os.fork()
        if child == 0:
            os.close(reading)
            os._exit(_in_child(self._tree, TESTS[file], (file, mutants, writing)))
        os.close(writing)
        with os.fdopen(reading) as pipe:
            lines = pipe.read().split()  # until the child and all its forks have ended
        os.waitpid(child, 0)
        print(f"{file}: {len(lines)} of {len(mutants)} killed in forks", file=sys.stderr)
        return [mutants[int(line)] for line in lines]

    def _lend_home(self, file: str) -> None:
        os.environ.pop("PLANTED_HOME", None)
        if file.startswith(NOT_IN_REFRESH):
            os.environ["PLANTED_HOME"] = str(self._planted)

    def outcome(self, mutant: Mutant) -> str:
        """`killed`, `too slow` or `LIVED`."""
        tests, path = TESTS[mutant.file], self._tree / mutant.file
        self._lend_home(mutant.file)
        usual = json.loads(self._usual.read_text()) if self._usual.exists() else {}
        if mutant.file not in usual:
            begin = time.monotonic()
            if self._run(tests, None) != 0:
                raise RuntimeError(f"tests of {mutant.file} fail without any change")
            usual[mutant.file] = time.monotonic() - begin
            self._usual.write_text(json.dumps(usual))
        kept = path.read_bytes()
        stamp = path.stat()
        try:
            path.write_text(mutant.mutation.source, encoding="utf-8")
            code = self._run(tests, PATIENCE + ROUNDS * usual[mutant.file])
        finally:
            path.write_bytes(kept)
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        return {0: "LIVED", None: "too slow"}.get(code, "killed")

    def _run(self, tests: tuple[str, ...], limit: float | None) -> int | None:
        """The exit code of pytest, in a process that has imported third parties already."""
        child = os.fork()
        if child == 0:
            os._exit(_in_child(self._tree, tests))
        end = float("inf") if limit is None else time.monotonic() + limit
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.killpg(child, 9)
        os.waitpid(child, 0)
        return None


def _in_child(
    tree: Path, tests: tuple[str, ...], forks: tuple[str, list[Mutant], int] | None = None
) -> int:
    import pytest

    os.setsid()
    os.chdir(tree)
    for name in [name for name in sys.modules if name.split(".")[0] in ("benchmarks", "tests")]:
        del sys.modules[name]
    sys.path[:] = [str(tree), *(path for path in sys.path if Path(path).resolve() != ROOT)]
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    with redirect_stdout(io.StringIO()):
        files = [f"tests/test_{name}.py" for name in tests]
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", "-k", QUICK]
        plugins = []
        if forks is not None:
            from benchmarks._forked import Forks, loaded, module_name

            file, mutants, pipe = forks

            def report(number: int, outcome: str) -> None:
                if outcome == "killed":
                    os.write(pipe, f"{number}\n".encode())

            loaded(file)
            sources = [mutant.mutation.source for mutant in mutants]
            plugins.append(Forks(module_name(file), sources, 20.0, report))
        return int(pytest.main([*options, *files], plugins=plugins))


def _import_others() -> None:
    """What every test imports; loaded once here, not in every process."""
    for name in ("faiss", "flask_openapi3", "numba", "pandas", "pyarrow.compute",
                 "pytest", "scipy.sparse.linalg"):  # fmt: skip
        importlib.import_module(name)


def _keep(kept: Path | None, name: str, outcome: str) -> None:
    if kept is not None:
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, outcome]) + "\n")


def _read(kept: Path) -> Iterator[tuple[str, str]]:
    if kept.exists():
        for line in kept.read_text(encoding="utf-8").splitlines():
            name, outcome = json.loads(line)
            yield name, outcome


def _summary(chosen: list[Mutant], known: dict[str, str]) -> dict[str, Any]:
    table = []
    for file in dict.fromkeys(mutant.file for mutant in chosen):
        own = [known[m.name] for m in chosen if m.file == file and m.name in known]
        lived = own.count("LIVED")
        table.append({"file": file, "changes": len(own), "killed": len(own) - lived})
    total = sum(row["changes"] for row in table)
    killed = sum(row["killed"] for row in table)
    return {
        "table": sorted(table, key=lambda row: str(row["file"])),
        "ratios": {"killed of all that were tried": killed / max(total, 1)},
        "tried": total,
        "lived": sorted(m.name for m in chosen if known.get(m.name) == "LIVED"),
    }
