"""How long events are kept, by kind: `retention.toml`.

[days]                 # kind of event -> how many days it is kept; kinds not named stay
view = 365
impression = 90        # impressions and clicks are one record: the shorter time holds for both
[then]                 # what is done after that; kinds not named are dropped
impression = "count"   # sums are kept: see `retention.py`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from graph.errors import InputError
from graph.ids import as_word
from graph.tables import Count, Table, must, read_tables
from graph.toml_file import read_toml

Then = Annotated[Literal["drop", "count"], must('it must be "drop" or "count"')]


@dataclass(frozen=True)
class Keep:
    """How long events of a kind are kept."""

    kind: str  # in lower case
    days: int
    count: bool  # whether their sums are kept after that


class _File(Table):
    days: Mapping[str, Count] = Field(default={})
    then: Mapping[str, Then] = Field(default={})

    @model_validator(mode="after")
    def _has_days(self) -> "_File":
        for kind in self.then:
            if kind not in self.days:
                raise InputError(f"then.{kind} has no days; write how long it is kept in [days]")
        return self


def load_retention(path: Path) -> tuple[Keep, ...]:
    """What the file says, by kind; nothing if there is no file.

    Raises:
        SettingError: a key or a value is wrong; it says which.
    """
    file = read_tables(_File, read_toml(path), str(path))
    return tuple(
        Keep(as_word(kind), days, file.then.get(kind) == "count")
        for kind, days in sorted(file.days.items())
    )
