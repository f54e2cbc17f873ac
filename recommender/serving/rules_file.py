"""Editorial rules: what an editor wants to be seen, declared in `rules.toml`.

    [[rule]]
    name = "spring"
    do = "boost"                      # multiply scores among the best candidates, before reranking
    where = { domains = ["baroque"] } # conditions of the filter language; or items = ["bwv-988"]
    factor = 1.5
    from = 2026-03-01                 # a day or a time; left out: always
    until = 2026-06-01
    segments = ["night owls"]         # left out: everyone
    when = { device = ["phone"] }     # of the context, or the user: "attribute plan" = ["free"]
    enabled = true

`do` is one of
    pin       the first of `items` that is allowed stands at `place`, labelled "pinned"
    sponsor   the same, labelled "sponsored"
    boost     scores × `factor`, above 1
    bury      scores × `factor`, below 1
    promote   boost what is younger than `newer_than_days`
    limit     at most `most` items of one `by`: "domain" or the name of an attribute
    hide      never shown, on no list, while the rule holds
"""

import datetime as dt
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from graph.durable import locked, replace_file
from graph.errors import SettingError
from graph.tables import Count, Switch, Table, Text, Texts, When, must, read_tables
from graph.toml_file import read_toml
from recommender.ranking.contexts import Features, holds
from recommender.ranking.filter_language import parse_filter
from recommender.ranking.request import Filter

Do = Literal["pin", "sponsor", "boost", "bury", "promote", "limit", "hide"]
NEEDED: dict[str, tuple[set[str], set[str]]] = {  # keys needed, and allowed beside them
    "pin": ({"items"}, {"place"}),
    "sponsor": ({"items"}, {"place"}),
    "boost": (set(), {"where", "items", "factor"}),
    "bury": (set(), {"where", "items", "factor"}),
    "promote": ({"newer_than_days"}, {"where", "factor"}),
    "limit": ({"by", "most"}, set()),
    "hide": (set(), {"where", "items"}),
}
COMMON = {"name", "do", "start", "until", "segments", "when", "enabled"}
FACTORS = {"boost": 1.5, "promote": 1.5, "bury": 0.5}
MOST_FACTOR = 100.0
MOST_RULES = 200  # in one file: each costs a pass over the items


def _where(content: object) -> Filter:
    return parse_filter(content, "where")


def _seconds(value: object) -> int:
    """Since 1970, of a TOML day or time; without a zone it is UTC."""
    if not isinstance(value, dt.date):  # a time is a day, too
        raise ValueError  # noqa: TRY004 - pydantic hears of no other
    time = value if isinstance(value, dt.datetime) else dt.datetime.combine(value, dt.time())
    return int((time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp())


Seconds = Annotated[
    int,
    BeforeValidator(_seconds),
    must("write a day such as 2026-03-01, without quotes"),
]


class Rule(Table):
    """One rule; see the module for what its fields mean."""

    name: Text
    do: Annotated[Do, must(f"it must be one of {', '.join(get_args(Do))}")] = Field(
        default="", validate_default=True
    )
    where: Annotated[Filter | None, PlainValidator(_where)] = None
    items: Texts = ()
    place: Count = 1
    factor: Annotated[float, must("it must be a number")] | None = None
    by: Text = "domain"
    most: Count = 1
    newer_than_days: (
        Annotated[float, Field(ge=0, le=1e6), must("it must be a number of days, 0 or more")] | None
    ) = None
    start: Seconds | None = Field(default=None, alias="from")
    until: Seconds | None = None
    segments: Texts = ()
    when: When = Field(default_factory=dict)
    enabled: Switch = True

    @property
    def strength(self) -> float:
        """What scores are multiplied by."""
        return FACTORS.get(self.do, 1.0) if self.factor is None else self.factor

    @property
    def condition(self) -> Filter | None:
        """What an item must be, but for `items`; None: anything."""
        if self.newer_than_days is None:
            return self.where
        young = Filter(newer_than_days=self.newer_than_days)
        return young if self.where is None else Filter(all_of=(young, self.where))

    def holds(self, now: int, segments: Collection[str], context: Features) -> bool:
        """Whether the rule is in force at this time for this subject."""
        return (
            (self.start is None or now >= self.start)
            and (self.until is None or now < self.until)
            and (not self.segments or any(segment in self.segments for segment in segments))
            and holds(self.when, context)
        )

    @model_validator(mode="after")
    def _fits(self) -> "Rule":
        """The keys are those of what the rule does, and they agree."""
        do, keys = self.do, self.model_fields_set
        needed, more = NEEDED[do]
        for key in sorted(needed - keys):
            raise SettingError(f"{do} needs {key}")
        for key in sorted(keys - needed - more - COMMON):
            takes = ", ".join(sorted(needed | more))
            raise SettingError(f"{key} is not known; {do} takes {takes}")
        if do in ("boost", "bury", "hide") and not {"where", "items"} & keys:
            raise SettingError(f"{do} needs where or items")
        factor = self.strength
        if not (0 < factor <= MOST_FACTOR) or (do == "bury" and factor >= 1):
            bounds = f"above 0, below 1 to bury, at most {MOST_FACTOR:g}"
            raise SettingError(f"factor {factor:g}: {bounds}")
        if do in ("boost", "promote") and factor <= 1:
            raise SettingError(
                f'factor {factor:g} must be above 1; to bury items, write do = "bury"'
            )
        if self.start is not None and self.until is not None and self.start >= self.until:
            raise SettingError("from is not before until")
        return self


class _File(Table):
    rule: list[Rule] = Field(default_factory=list)


def load_rules(path: Path) -> tuple[Rule, ...]:
    """Read `rules.toml`; a missing file holds no rules, a wrong key is a `SettingError`."""
    return parse_rules(read_toml(path), path.name)


def parse_rules(content: Mapping[str, Any], where: str = "rules") -> tuple[Rule, ...]:
    """Rules from a parsed document; those that are not enabled are checked and left out."""
    rules = read_tables(_File, content, where).rule
    if len(rules) > MOST_RULES:
        raise SettingError(f"{where}: {len(rules):,} rules; there can be at most {MOST_RULES}")
    names: set[str] = set()
    for rule in rules:
        if rule.name in names:
            raise SettingError(f"{where}: two rules are named {rule.name!r}")
        names.add(rule.name)
    return tuple(rule for rule in rules if rule.enabled)


def read_text(path: Path) -> str:
    """The file as it stands; empty if there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def version_of(text: str) -> str:
    """Changes with the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_text(path: Path, text: str, *, over: str) -> bool:
    """Replace the file, if its version is still `over`; whether it was replaced."""
    with locked(path.with_name(f".{path.name}.lock")):
        if version_of(read_text(path)) != over:
            return False
        replace_file(path, text)
    return True
