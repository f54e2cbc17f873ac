"""Run tests once without a change, then once for each change, in forks that share the set-up.

In a fork the functions of the changed module get their new code in place, so that whoever imported
them calls the changed ones. What cannot be changed in this way (compiled code, values that an
import computes) is left to a run in a fresh process. So are changes that survive or do not end,
since the forks share values that were computed before the change.
"""

import importlib
import os
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import pytest

Report = Callable[[int, str], None]  # number of a change, and "killed" or "ask again"


class Forks:
    """A pytest plugin that runs all tests once for each given change of one module."""

    def __init__(self, module: str, sources: Sequence[str], seconds: float, report: Report) -> None:
        """`sources`: the module's text after each change; `report` is called with each outcome."""
        self._module, self._sources = module, sources
        self._seconds, self._report = seconds, report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of pytest's own loop."""
        begin = time.monotonic()
        if _all_pass(session):  # also sets up what the forks share
            limit = self._seconds + 2 * (time.monotonic() - begin)
            for number, source in enumerate(self._sources):
                self._report(number, self._outcome(session, source, limit))
        return True

    def _outcome(self, session: pytest.Session, source: str, limit: float) -> str:
        child = os.fork()
        if child == 0:
            try:
                changed = _put_in_place(sys.modules[self._module], source)
            except Exception:  # noqa: BLE001 - whatever it is, a fresh process tells
                changed = False
            if not changed:
                os._exit(9)
            os._exit(0 if _all_pass(session) else 1)
        end = time.monotonic() + limit
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return "killed" if os.waitstatus_to_exitcode(status) == 1 else "ask again"
            time.sleep(0.02)
        os.kill(child, 9)
        os.waitpid(child, 0)
        return "ask again"


def _all_pass(session: pytest.Session) -> bool:
    items = session.items
    for item, following in zip(items, [*items[1:], items[0]], strict=True):  # nothing is torn down
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return False
    return True


def _put_in_place(module: types.ModuleType, source: str) -> bool:
    """Whether the change reached the functions or values of a module."""
    fresh = types.ModuleType(module.__name__)
    fresh.__dict__.update({"__file__": module.__file__, "__package__": module.__package__})
    exec(compile(source, str(module.__file__), "exec"), fresh.__dict__)
    changed = False
    for name, new in vars(fresh).items():
        old = vars(module).get(name)
        if getattr(new, "__module__", module.__name__) != module.__name__:
            continue
        if isinstance(new, int | float) and new != old:
            for user in list(sys.modules.values()):
                if vars(user).get(name) is old:
                    setattr(user, name, new)
            changed = True
        for before, after in _functions(old, new):
            changed |= _replaced(before, after)
    return changed


def _functions(old: Any, new: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs (old, new) of functions within two values of the same name."""
    if isinstance(new, type) and isinstance(old, type):
        for name, value in vars(new).items():
            yield from _functions(vars(old).get(name), value)
        return
    for part in ("__func__", "fget", "func", "__wrapped__", "py_func"):
        if isinstance(new, classmethod | staticmethod | property | cached_property) or part in (
            "__wrapped__",
            "py_func",
        ):
            inner = getattr(new, part, None)
            if isinstance(inner, types.FunctionType):
                yield getattr(old, part), inner
                return
    if isinstance(new, types.FunctionType):
        yield old, new


def _replaced(old: types.FunctionType, new: types.FunctionType) -> bool:
    same = _text(old.__code__) == _text(new.__code__) and old.__defaults__ == new.__defaults__
    if same and old.__kwdefaults__ == new.__kwdefaults__:
        return False
    if any(getattr(value, "py_func", None) is old for value in old.__globals__.values()):
        raise TypeError("compiled code is not changed in place")
    old.__code__, old.__defaults__ = new.__code__, new.__defaults__
    old.__kwdefaults__ = new.__kwdefaults__
    return True


def _text(code: types.CodeType) -> tuple[Any, ...]:
    """What a function does, without its position in the file."""
    parts = [
        _text(c) if isinstance(c, types.CodeType) else (type(c), repr(c)) for c in code.co_consts
    ]
    return code.co_code, code.co_names, tuple(parts)


def module_name(file: str) -> str:
    """The name that a file is imported by."""
    return file.removesuffix(".py").replace("/", ".")


def loaded(file: str) -> None:
    """Import the module of a file, so that it can be changed."""
    importlib.import_module(module_name(file))
