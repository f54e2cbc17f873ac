"""Reads the TOML files that people write for a catalogue; errors say what to do.

A folder, a loop of links, a pipe, a file of a megabyte, bytes that are not text, endless nesting
and endless numbers all raise a `SettingError` that names the file.
"""

import math
import stat
import tomllib
from pathlib import Path
from typing import Any

from graph.errors import SettingError

MOST_BYTES = 1_000_000
MOST_DEPTH = 20
_64_BITS = range(-(2**63), 2**63)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file; empty if there is no file. A `SettingError` says what is wrong."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise SettingError(f"{path} is not a file; put a TOML file there, or nothing")
        if facts.st_size > MOST_BYTES:
            raise SettingError(
                f"{path} holds {facts.st_size:,} bytes; a settings file has at most {MOST_BYTES:,}"
            )
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingError(
            f"{path} is not valid TOML: it is not UTF-8, byte {error.start} cannot be decoded"
        ) from error
    except RecursionError:
        raise SettingError(f"{path} is nested deeper than {MOST_DEPTH} levels") from None
    except ValueError as error:
        raise SettingError(f"{path} is not valid TOML: {error}") from error
    _check_values(content, path)
    return content


def _check_values(content: dict[str, Any], path: Path) -> None:
    """Check level by level: without recursion, which a document could exhaust."""
    level: list[tuple[str, Any]] = list(content.items())
    for _ in range(MOST_DEPTH):
        inside: list[tuple[str, Any]] = []
        for key, value in level:
            if isinstance(value, dict):
                inside += [(f"{key}.{name}", part) for name, part in value.items()]
            elif isinstance(value, list):
                inside += [(f"{key}.{index}", part) for index, part in enumerate(value)]
            elif isinstance(value, int) and value not in _64_BITS:
                raise SettingError(f"{path}: {key} is a whole number beyond 64 bits")
            elif isinstance(value, float) and not math.isfinite(value):
                raise SettingError(f"{path}: {key} is {value}; write a number")
        level = inside
        if not level:
            return
    raise SettingError(f"{path} is nested deeper than {MOST_DEPTH} levels")
