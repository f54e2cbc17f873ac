"""Files with a JSON object on each line."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from loaders.format import Options, Source
from loaders.lines import blocks
from loaders.reasons import LINE_TOO_LONG, NOT_JSON
from loaders.records import Rejected, shortened

Numbered = list[tuple[int, Any]]  # what stands on a line, with its number


def decoded_lines(
    source: Source, options: Options, decode: Callable[[bytes], Any]
) -> Iterator[tuple[Numbered, list[Rejected], int]]:
    """What `decode` makes of each line, the lines of which it makes None, and bytes so far."""
    for block in blocks(source.path, options.encoding, most=source.most_bytes):
        taken: Numbered = []
        rejected: list[Rejected] = []
        for number, line in enumerate(block.data.split(b"\n")[:-1], block.first_line):
            if not line.strip():
                continue
            content = None if block.too_long else decode(line)
            if content is None:
                reason = LINE_TOO_LONG if block.too_long else NOT_JSON
                text = shortened(line.decode("utf-8", "backslashreplace"))
                rejected.append(Rejected(number, reason, text))
            else:
                taken.append((number, content))
        yield taken, rejected, block.done


def json_object(line: bytes) -> dict[str, Any] | None:
    """The object on a line; None if it is no JSON, or no object."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
