"""The process that runs strangers' queries: it opens a graph, gives up its rights, answers.

It reads length-prefixed JSON from standard input: first an order with the graph to open and the
limits, then one query after the other. It ends when the pipe is closed.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from graph.errors import QueryRefused, QueryStopped, StoreError
from graph.explore.console_process import HEADER
from graph.extras import missing_extra

POOL = 256 << 20  # bytes of buffer pool, part of the worker's memory
_STATM = Path("/proc/self/statm").open()  # noqa: SIM115 - nothing can be opened later
Rows = tuple[list[str], Iterator[list[Any]]]
Ask = Callable[[str, dict[str, Any]], Rows]


def main() -> None:
    """Serve one console until it closes the pipe."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    order = _read(source)
    if order is None:
        return
    limits = order["limits"]
    try:
        ask = _opened(order)
    except StoreError as error:
        _write(target, {"error": "away", "message": str(error)})
        return
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        _write(target, {"error": "missing", "message": str(missing)})
        return
    _write(target, {})
    mapped = _mapped()
    while (message := _read(source)) is not None:
        _limit_seconds(limits["seconds"])
        answer = _answer(ask, message, limits)
        worn = _mapped() - mapped > limits["memory"] // 2  # the engine keeps some of the memory
        _write(target, answer | ({"worn": True} if worn else {}))


def _opened(order: dict[str, Any]) -> Ask:
    limits = order["limits"]
    if order["graph"] == "neo4j":
        from graph.explore.neo4j_reader import Reader

        reader = Reader(**order["target"], seconds=limits["seconds"])
        _give_up_rights(limits["memory"], files=None)
        return reader.rows
    from graph.explore.ladybug_graph import GraphFile

    graph = GraphFile(Path(order["graph"]), seconds=limits["seconds"], memory=POOL)
    _give_up_rights(limits["memory"], files=0)
    return graph.rows


def _give_up_rights(memory: int, files: int | None) -> None:
    """From now on: no byte into a file, `files` newly opened (sockets too), bounded memory."""
    mapped = _mapped()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def _mapped() -> int:
    """Bytes of memory that this process has mapped, which is what the limit counts."""
    _STATM.seek(0)
    return int(_STATM.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _limit_seconds(seconds: float) -> None:
    """Have the system end this process if the next query far exceeds its time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + 2 * seconds + 2)  # two threads may work at once
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _answer(ask: Ask, message: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    rows: list[list[Any]] = []
    size, truncated = 0, False
    try:
        columns, records = ask(message["query"], message["parameters"])
        for row in records:
            size += len(json.dumps(row))
            if len(rows) >= limits["rows"] or size > limits["bytes"]:
                truncated = True
                break
            rows.append(row)
    except QueryStopped as error:
        starved = "memory" in str(error)
        return {"error": "stopped", "message": str(error), "starved": starved}
    except QueryRefused as error:
        return {"error": "refused", "message": str(error)}
    except StoreError as error:
        return {"error": "away", "message": str(error)}
    except MemoryError:
        text = "The query needed more memory than allowed and was stopped."
        return {"error": "stopped", "message": text, "starved": True}
    ms = round((time.perf_counter() - began) * 1000, 3)
    return {"columns": columns, "rows": rows, "truncated": truncated, "ms": ms}


def _read(source: BinaryIO) -> dict[str, Any] | None:
    header = source.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    message: dict[str, Any] = json.loads(source.read(HEADER.unpack(header)[0]))
    return message


def _write(target: BinaryIO, answer: dict[str, Any]) -> None:
    data = json.dumps(answer).encode()
    target.write(HEADER.pack(len(data)) + data)
    target.flush()


if __name__ == "__main__":
    main()
