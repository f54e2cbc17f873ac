"""Looks over a file before it is loaded, as only a whole column shows what it is.

Only the rest of its column shows whether a number is a year or a second, a rating is good or bad,
or a comma is part of a word. Files of items, users and ratings are looked over from end to end; of
other files only the first rows.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from graph.ratings import Tally
from loaders.attributes import Values
from loaders.columns import RATING_NAMES, USER_WORDS, Layout, plain
from loaders.format import Options
from loaders.lists import PATH, Cells, ListForm
from loaders.records import RATING, WHOLE, as_text, numbers_of
from loaders.times import Forms
from loaders.understood import Understood

SURVEYED_ROWS = 200_000  # of files of which only the first rows are looked over
LATEST = 4_102_444_800  # the year 2100: no form of numbers may give later times
IDS = ("user", "item", "id", "source", "target")
PERSONAL = ("email", "mail", "phone", "ip", "ipaddress", "address", "firstname", "lastname")


class Survey:
    """What the columns of one file look like, part by part."""

    def __init__(self, options: Options) -> None:
        """`options` says what need not be found out."""
        self._options = options
        self.rows = 0
        self._dotted: dict[str, int] = {}  # id column -> ids that end in .0, -1 when one does not
        self._numbered = True  # whether all ids so far are the numbers of their rows
        self._times: dict[str, Forms] = {}
        self._ratings = Tally()
        self._lists: dict[str, Cells] = {}
        self._values: dict[str, Values] = {}

    def add(self, layout: Layout, columns: list[Any], rows: int) -> None:
        """Look at some more rows."""
        for name, position in layout.columns.items():
            if name in IDS:
                self._ids(name, columns[position], numbered=layout.numbering is not None)
            elif name in ("at", "created_at"):
                self._time(name, columns[position])
        if "value" in layout.columns and layout.table == "events":
            self._rate(layout, columns)
        for name, position in layout.lists.items():
            self._lists.setdefault(name, Cells()).add(columns[position])
        for name, position in layout.attributes.items():
            self._values.setdefault(name, Values()).add(columns[position])
        self.rows += rows

    def forms(self) -> dict[str, Any]:
        """What `records.validate` must know about whole columns."""
        forms: dict[str, Any] = {name: WHOLE for name, count in self._dotted.items() if count > 0}
        forms |= {
            name: forms_seen.best for name, forms_seen in self._times.items() if forms_seen.best
        }
        scale = self._options.scale or self._ratings.scale()
        return forms | ({"value": scale} if scale is not None and self._ratings.count else {})

    def lists(self) -> dict[str, ListForm]:
        """How each list column is split: as given, or as found."""
        return {name: self._list_form(name, cells) for name, cells in self._lists.items()}

    def types(self, layout: Layout) -> dict[str, str]:
        """The type of each attribute: as given, or as found."""
        return {
            name: layout.types.get(name, values_seen.type)
            for name, values_seen in self._values.items()
        }

    def numbers_rows(self) -> bool:
        """Whether the column `id` holds nothing but the numbers of the rows."""
        return self._numbered and self.rows > 1

    def understood(self, layout: Layout, names: list[str]) -> Understood:
        """How the file was understood, in words."""
        understood = Understood()
        for name, position in {**layout.columns, **layout.lists}.items():
            understood.columns[name] = names[position]
        for name, position in layout.attributes.items():
            understood.columns[f"attribute {name}"] = names[position]
        understood.ignored = list(layout.ignored)
        forms = self.forms()
        for name, form in forms.items():
            if form == WHOLE:
                understood.taken[name] = (
                    "whole numbers written with '.0' at the end, which is removed"
                )
            elif name in self._times:
                understood.taken[name] = f"numbers are {form}"
        if "value" in forms:
            understood.taken["scale"] = self._scale_in_words(*forms["value"])
        for name, list_form in self.lists().items():
            understood.taken[name] = str(list_form)
            doubt = self._lists[name].doubt(list_form)
            if doubt is not None:
                understood.warnings.append(
                    f"cells of {names[layout.lists[name]]!r} hold {doubt!r}; if that separates "
                    f"{name}, say --separator {name}='{doubt}'"
                )
        for name, kind in self.types(layout).items():
            understood.taken[f"attribute {name}"] = (
                f"read as {kind}" if kind else "typed in the file"
            )
            understood.warnings += self._values[name].doubts(
                name, kind, names[layout.attributes[name]]
            )
            if layout.table == "items" and _personal(names[layout.attributes[name]]):
                understood.warnings.append(
                    f"the attribute {name!r} of items may name a person; attributes are shown to "
                    "everybody: leave it out of --attributes"
                )
        return understood

    def _ids(self, name: str, column: Any, *, numbered: bool) -> None:
        text = (
            as_text(column)[0] if not pa.types.is_nested(column.type) else pa.nulls(0, pa.string())
        )
        text = text.filter(pc.greater(pc.utf8_length(text), 0)).drop_null()
        if self._dotted.get(name, 0) >= 0 and len(text):
            # A column of fractions loses its `.0` on the way to text, see `records`.
            form = r"-?[0-9]+" if pa.types.is_floating(column.type) else r"-?[0-9]+\.0+"
            dotted = pc.sum(pc.match_substring_regex(text, rf"^\s*{form}\s*$")).as_py() or 0
            self._dotted[name] = self._dotted.get(name, 0) + dotted if dotted == len(text) else -1
        if name == "id" and numbered and self._numbered:
            numbers = [int(value) if value.isdecimal() else -1 for value in text.to_pylist()]
            first = numbers[0] - self.rows if numbers else 0
            self._numbered = first in (0, 1) and numbers == list(
                range(self.rows + first, self.rows + first + len(numbers))
            )

    def _time(self, name: str, column: Any) -> None:
        if pa.types.is_temporal(column.type) or pa.types.is_nested(column.type):
            return
        values, present, codes, _ = numbers_of(column)
        self._times.setdefault(name, Forms(LATEST)).add(values[present & (codes == 0)])

    def _rate(self, layout: Layout, columns: list[Any]) -> None:
        values, present, codes, _ = numbers_of(columns[layout.columns["value"]])
        rated = present & (codes == 0)
        if "kind" in layout.columns:
            kinds = as_text(columns[layout.columns["kind"]])[0]
            kinds = pc.utf8_lower(pc.utf8_trim_whitespace(kinds))
            rated &= pc.equal(kinds, RATING).fill_null(False).to_numpy(False)
        elif (self._options.kind or "").strip().lower() != RATING:
            return
        self._ratings.add(values[rated])

    def _list_form(self, name: str, cells: Cells) -> ListForm:
        seen = cells.form(paths=name == "domains")
        separator = self._options.separators.get(name, self._options.list_separator)
        if separator is None:
            return seen
        if separator == PATH and name == "domains":
            return ListForm(seen.separator, path=True)
        return ListForm(separator, path=seen.path)

    def _scale_in_words(self, low: float, high: float) -> str:
        count, off = self._ratings.count, self._ratings.off(low, high)
        text = f"{low:g} to {high:g}, of {count:,} ratings"
        return f"{text}; outside it, and rejected: {off:,}" if off else text


def with_kind(options: Options, layout: Layout, names: list[str]) -> str | None:
    """The kind of events that name none: as given, or as the value column's name tells."""
    if options.kind is not None or layout.table != "events" or "value" not in layout.columns:
        return options.kind
    return RATING if plain(names[layout.columns["value"]]) in RATING_NAMES else None


def _personal(column: str) -> bool:
    name = plain(column)
    return name in PERSONAL or name.removesuffix("id").removesuffix("name") in USER_WORDS
