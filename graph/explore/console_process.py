"""The console's processes: one that makes the copies, and workers in which queries run.

Both start in an empty folder with an empty environment. When they fail, what they wrote to their
error output is added to the error that is raised; `--debug` shows it.
"""

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from graph.errors import (
    MissingExtra,
    NichegraphError,
    QueryRefused,
    QueryStopped,
    StoreAway,
    StoreError,
)

STARTING = 30.0  # seconds a worker may take to open its graph
BUILDING = 900.0  # seconds that making the copy may take
MOST_WORDS = 1 << 16  # bytes of a process's error output that are kept
HEADER = struct.Struct(">I")
KINDS: dict[str, type[NichegraphError]] = {
    "refused": QueryRefused,
    "stopped": QueryStopped,
    "away": StoreAway,
    "missing": MissingExtra,
}
_LIMITS = {-signal.SIGKILL, -signal.SIGXCPU}  # how a process ends when it exceeds a limit


class Worker:
    """One process of `console_worker`, spoken to in length-prefixed JSON over pipes."""

    def __init__(self, graph: str, order: dict[str, Any]) -> None:
        """Start it; `order` is its first message: which graph to open, and the limits.

        Raises:
            StoreError: it cannot open the graph, or ended at once.
            StoreAway: it took too long to start.
            OSError: the machine has no room for another process.
            MissingExtra: it lacks a package.
        """
        self.graph, self.answered = graph, 0
        self._most = int(order["limits"]["bytes"]) * 2 + 1_000_000
        self._room = tempfile.TemporaryDirectory(prefix="nichegraph-console-")
        self._process = _started("graph.explore.console_worker", self._room.name)
        try:
            hello = self.ask(order, STARTING)
        except QueryStopped:
            self.kill()
            raise StoreAway(
                f"The process that answers queries was not ready within {STARTING:g} seconds: the "
                "machine is busy. Try again in a moment."
            ) from None
        except QueryRefused as error:
            self.kill()
            failure = StoreError("The process that answers queries could not be started.")
            _add_notes(failure, *getattr(error, "__notes__", ()))
            raise failure from None
        except BaseException:
            self.kill()
            raise
        if "error" in hello:
            self.kill()
            raise KINDS.get(str(hello["error"]), StoreError)(str(hello["message"]))

    def ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send one message and give the answer; past `seconds` it raises and must be killed."""
        deadline = time.monotonic() + seconds
        data = json.dumps(message).encode()
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(HEADER.pack(len(data)) + data)
            self._process.stdin.flush()
            (length,) = HEADER.unpack(self._read(HEADER.size, deadline))
            if length > self._most:
                raise QueryStopped("The answer was larger than allowed; ask for less.")
            answer: dict[str, Any] = json.loads(self._read(length, deadline))
        except BrokenPipeError:
            raise self._died() from None
        return answer

    def lives(self) -> bool:
        """Whether the process is still running."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process at once and clear its folder."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._room.cleanup()

    def _read(self, length: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        source = self._process.stdout.fileno()
        ready = select.poll()  # select() fails where a server has a thousand files open
        ready.register(source, select.POLLIN)
        parts, missing = [], length
        while missing:
            left = deadline - time.monotonic()
            if left <= 0 or not ready.poll(left * 1000):
                raise QueryStopped("The query ran longer than allowed and was stopped.")
            part = os.read(source, min(missing, 1 << 20))
            if not part:
                raise self._died()
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _died(self) -> QueryRefused:
        """The error for a process that ended: it exceeded a limit, or failed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        words = _what_it_wrote(self._process)
        if self._process.returncode in _LIMITS or "bad_alloc" in words or "MemoryError" in words:
            return QueryStopped("The query used more memory or time than allowed and was stopped.")
        failure = QueryRefused(
            "The engine failed on this query; write it another way (--debug shows the engine's "
            "message)."
        )
        _add_notes(failure, words)
        return failure


def built(order: dict[str, Any]) -> str:
    """The path of the copy that `console_build` makes of the store.

    Raises:
        StoreAway: the store cannot be read, or it took too long.
        StoreError: the process failed.
        MissingExtra: it lacks a package.
    """
    with tempfile.TemporaryDirectory(prefix="nichegraph-console-") as room:
        process = _started("graph.explore.console_build", room)
        try:
            answered, words = process.communicate(json.dumps(order).encode(), BUILDING)
        except subprocess.TimeoutExpired:
            raise StoreAway("The copy for exploring was not ready in time; try again.") from None
        finally:
            process.kill()
            process.wait()
    if not answered:
        failure = StoreError(
            "The copy for exploring could not be made: its process ended early (--debug shows its "
            "message)."
        )
        _add_notes(failure, words[-MOST_WORDS:].decode(errors="replace"))
        raise failure
    answer: dict[str, str] = json.loads(answered)
    if "error" in answer:
        raise KINDS.get(answer["error"], StoreError)(answer["message"])
    return answer["path"]


def _started(module: str, cwd: str) -> subprocess.Popen[bytes]:
    """A process of ours in an empty folder, with an environment that holds nothing."""
    here = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(str(Path(part).absolute()) for part in [here, *sys.path] if part)
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env={"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "LC_ALL": "C.UTF-8", "TMPDIR": cwd},
    )


def _what_it_wrote(process: subprocess.Popen[bytes]) -> str:
    """What an ended process wrote to its error output; does not wait for more."""
    assert process.stderr is not None
    source = process.stderr.fileno()
    os.set_blocking(source, False)
    with contextlib.suppress(BlockingIOError):
        return os.read(source, MOST_WORDS).decode(errors="replace")
    return ""


def _add_notes(error: BaseException, *words: str) -> None:
    for text in words:
        if text.strip():
            error.add_note(text.strip())
