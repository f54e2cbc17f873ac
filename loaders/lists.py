"""Finds out how a column writes several tags or domains in a cell, and splits its cells."""

import ast
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.arrays import I64
from loaders.records import as_text

SEPARATORS = ("|", ";", ",")  # the surest first
USUAL = "|"
PATH = ">"  # between the steps of a path of domains
MOST_PIECES = 100_000  # so many are counted to see whether a sign separates


@dataclass(frozen=True)
class ListForm:
    """How the cells of a column are split."""

    separator: str = USUAL
    brackets: bool = False  # ['rock', 'jazz'], as Python or JSON writes lists
    path: bool = False  # a > b > c: in a, in a > b, and in a > b > c

    def __str__(self) -> str:
        """The form in words."""
        if self.brackets:
            return "lists in brackets"
        steps = f", each a path with {PATH!r} between its steps" if self.path else ""
        return f"lists with {self.separator!r} between{steps}"


class Cells:
    """Counts what the cells of a column look like."""

    def __init__(self) -> None:
        self.filled = 0
        self._brackets = 0
        self._paths = 0
        self._with = dict.fromkeys(SEPARATORS, 0)
        self._pieces = {separator: Counter[str]() for separator in SEPARATORS}

    def add(self, column: Any) -> None:
        """Look at some more cells; columns of lists are passed over, as they need no splitting."""
        if is_list(column.type):
            return
        text = pc.utf8_trim_whitespace(as_text(column)[0])
        text = text.filter(pc.greater(pc.utf8_length(text), 0)).drop_null()
        self.filled += len(text)
        self._brackets += _count(pc.match_substring_regex(text, r"^\[.*\]$"))
        self._paths += _count(pc.match_substring(text, f" {PATH} "))
        for separator in SEPARATORS:
            cells = text.filter(pc.match_substring(text, separator))
            self._with[separator] += len(cells)
            pieces = self._pieces[separator]
            if len(cells) and pieces.total() < MOST_PIECES:
                pieces.update(part.strip() for part in _flat(pc.split_pattern(text, separator)))

    def form(self, *, paths: bool) -> ListForm:
        """The form that fits; with `paths` a cell may also hold paths."""
        if self.filled and self._brackets == self.filled:
            return ListForm(brackets=True)
        path = paths and 2 * self._paths >= max(self.filled, 1)
        if self._with["|"]:
            return ListForm("|", path=path)
        for separator in SEPARATORS[1:]:
            if 2 * self._with[separator] >= max(self.filled, 1) or self._repeats(separator):
                return ListForm(separator, path=path)
        return ListForm(path=path)

    def doubt(self, form: ListForm) -> str | None:
        """Another separator that a good part of the cells hold, though it was not chosen."""
        if form.brackets or form.path:
            return None
        return next(
            (
                separator
                for separator in SEPARATORS
                if separator != form.separator
                and self._with[separator] >= max(0.05 * self.filled, 1)
            ),
            None,
        )

    def _repeats(self, separator: str) -> bool:
        """Whether a fifth of the cells have it, and the pieces between come again and again."""
        pieces = self._pieces[separator]
        return (
            5 * self._with[separator] >= max(self.filled, 1)
            and pieces.total() >= 10
            and pieces.total() >= 4 * len(pieces)
        )


def is_list(kind: Any) -> bool:
    """Whether a type of Arrow is a list."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def exploded(column: Any, form: ListForm) -> tuple[Any, I64]:
    """The single values of cells, and the row each comes from; empty values are left out."""
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    if not is_list(column.type):
        if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
            column = column.cast(pa.string())
        if form.brackets:
            cells = [_in_brackets(cell) for cell in column.to_pylist()]
            column = pa.array(cells, pa.list_(pa.binary()))
        else:
            column = pc.split_pattern(column, form.separator)
    values = pc.list_flatten(column)
    parents = pc.list_parent_indices(column).cast(pa.int64())
    if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        filled = pc.invert(pc.match_substring_regex(values, r"^\s*$")).fill_null(False)
        values, parents = values.filter(filled), parents.filter(filled)
    rows = parents.to_numpy(zero_copy_only=False)
    return _steps(values, rows) if form.path else (values, rows)


def _steps(values: Any, rows: I64) -> tuple[Any, I64]:
    """Each path replaced by all its beginnings: `a > b` gives `a` and `a > b`."""
    made: list[bytes] = []
    of: list[int] = []
    for value, row in zip(values.to_pylist(), rows.tolist(), strict=True):
        text = value if isinstance(value, bytes) else str(value).encode()
        steps = [step.strip() for step in text.split(PATH.encode()) if step.strip()]
        for count in range(1, len(steps) + 1):
            made.append(f" {PATH} ".encode().join(steps[:count]))
            of.append(row)
    return pa.array(made, pa.binary()), np.array(of, np.int64)


def pieces(cell: str) -> list[str]:
    """The words of one cell: a list in brackets, or words with the usual separator between."""
    if cell.startswith("[") and cell.endswith("]"):
        words = [word.decode("utf-8", "surrogateescape") for word in _in_brackets(cell)]
    else:
        words = [word.strip() for word in cell.split(USUAL)]
    return list(dict.fromkeys(word for word in words if word))


def _in_brackets(cell: bytes | str | None) -> list[bytes]:
    text = cell.decode("utf-8", "surrogateescape") if isinstance(cell, bytes) else cell or ""
    parts: Any = None
    for read in (json.loads, ast.literal_eval):
        try:
            parts = read(text)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    if not isinstance(parts, list | tuple):  # [rock, jazz]: words without quotes
        parts = text.strip().strip("[]").split(",")
    return [
        str(part).strip().encode("utf-8", "surrogateescape") for part in parts if part is not None
    ]


def _flat(lists: Any) -> list[str]:
    return pc.list_flatten(lists).to_pylist()


def _count(flags: Any) -> int:
    return int(pc.sum(flags).as_py() or 0)
