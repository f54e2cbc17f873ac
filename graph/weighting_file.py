"""Reads a weighting from a TOML file, and writes one with a remark beside each weight."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from graph.errors import SettingError
from graph.ids import as_kind
from graph.ratings import Scale
from graph.tables import Number, Table, must, read_tables
from graph.toml_file import read_toml
from graph.values import MEANINGS, MONEY, RATING, SECONDS
from graph.weighting import Weighting

PLAIN = Weighting()  # what an empty file means
PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Kind = Annotated[str, AfterValidator(as_kind)]
Kinds = Annotated[
    tuple[Kind, ...], Field(strict=False), must("it must be a list of kinds of events")
]
Whole = Annotated[
    int, Field(ge=0), BeforeValidator(_whole), must("it must be a whole number, 0 or more")
]
HalfLife = Annotated[
    float,
    Field(gt=0, allow_inf_nan=False),
    must("leave it out if age should not matter, or write a number of days above 0"),
]
Share = Annotated[float, Field(ge=0, le=1), must("it is a share of the scale, 0 to 1")]


def _rising(ends: Scale) -> Scale:
    if ends[0] >= ends[1]:
        raise ValueError
    return ends


End = Annotated[float, Field(allow_inf_nan=False)]
Ends = Annotated[
    tuple[End, End],
    Field(strict=False),
    AfterValidator(_rising),
    must("it must be [lowest, highest], as in [1, 5]"),
]


Meaning = Annotated[
    Literal["rating", "count", "seconds", "money"],
    must(f"it must be one of {', '.join(MEANINGS)}"),
]
Typical = Annotated[
    float,
    Field(gt=0, allow_inf_nan=False),
    must("it must be above 0, of a kind that [values] calls seconds or money"),
]


class _Age(Table):
    half_life_days: HalfLife | None = None


class _Tags(Table):
    tag_rarity: Number = Field(PLAIN.tag_rarity, alias="rarity")
    tag_fewest_items: Whole = Field(PLAIN.tag_fewest_items, alias="fewest_items")
    tag_most_items: Whole = Field(PLAIN.tag_most_items, alias="most_items")

    @model_validator(mode="after")
    def _in_order(self) -> "_Tags":
        if self.tag_fewest_items > self.tag_most_items:
            raise SettingError("tags.fewest_items is larger than tags.most_items")
        return self


class _Minimum(Table):
    user_events: Whole = PLAIN.user_events
    item_events: Whole = PLAIN.item_events


class _Against(Table):
    against_kinds: Kinds = Field(PLAIN.against_kinds, alias="kinds")


class _Ratings(Table):
    rating_kinds: Kinds = Field(PLAIN.rating_kinds, alias="kinds")
    relevant_from: Share = PLAIN.relevant_from
    rating_scale: Ends | None = Field(None, alias="scale")


class _File(Table):
    """The file's tables; apart from aliases, their fields are named as in `Weighting`."""

    kinds: Mapping[Kind, Number] = PLAIN.kinds
    values: Mapping[Kind, Meaning] = Field(default_factory=dict)
    typical: Mapping[Kind, Typical] = PLAIN.typical
    categories: Mapping[str, Number] = PLAIN.categories
    domains: Mapping[str, Number] = PLAIN.domains
    relations: Mapping[Kind, Number] = PLAIN.relations
    attributes: Mapping[str, Number] = PLAIN.attributes
    age: _Age = _Age()
    tags: _Tags = _Tags()
    minimum: _Minimum = _Minimum()
    against: _Against = _Against()
    ratings: _Ratings = _Ratings()


def load_weighting(path: Path) -> Weighting:
    """Read a TOML file; a missing file gives the defaults, a wrong key raises `SettingError`."""
    return parse_weighting(read_toml(path), str(path))


def parse_weighting(document: Mapping[str, Any], where: str = "weighting") -> Weighting:
    """A weighting from a parsed TOML document; a `SettingError` names key and remedy."""
    values: dict[str, Any] = {}
    for name, table in read_tables(_File, document, where):
        values |= table.model_dump() if isinstance(table, Table) else {name: table}
    return _with_ratings(Weighting(**values), "kinds" in document.get("ratings", {}), where)


def _with_ratings(weighting: Weighting, named: bool, where: str) -> Weighting:
    """Add the kinds that [values] calls ratings, and drop those that it calls something else."""
    other = [kind for kind, meaning in weighting.values.items() if meaning != RATING]
    both = [kind for kind in other if kind in weighting.rating_kinds]
    if named and both:
        raise SettingError(
            f"{where}: values.{both[0]} is {weighting.values[both[0]]!r}, and ratings.kinds calls "
            "it a rating; leave one of them out"
        )
    for kind, typical in weighting.typical.items():
        if weighting.values.get(kind) not in (SECONDS, MONEY):
            raise SettingError(
                f"{where}: typical.{kind} is {typical:g}; it must be of a kind that [values] "
                "calls seconds or money"
            )
    kinds = [kind for kind in weighting.rating_kinds if kind not in other]
    kinds += [k for k, m in weighting.values.items() if m == RATING and k not in kinds]
    return replace(weighting, rating_kinds=tuple(kinds))


# ── writing ────────────────────────────────────────────────────────────────────────────────


def weighting_toml(
    weighting: Weighting, remarks: Mapping[tuple[str, str], str], head: str = ""
) -> str:
    """The whole weighting as TOML, as anything left out would have its default.

    Args:
        weighting: what to write; reading the text gives it back.
        remarks: (table, key) -> a remark beside that weight, for instance ("kinds", "view").
            A remark on a key that has no line, such as an age that does not matter, gets its own.
        head: lines of a comment at the top.
    """
    age = {} if weighting.half_life_days is None else {"half_life_days": weighting.half_life_days}
    tables: dict[str, Mapping[str, object]] = {
        "kinds": weighting.kinds,
        "values": weighting.values,
        "typical": weighting.typical,
        "categories": weighting.categories,
        "domains": weighting.domains,
        "relations": weighting.relations,
        "attributes": weighting.attributes,
        "age": age,
        "tags": {
            "rarity": weighting.tag_rarity,
            "fewest_items": weighting.tag_fewest_items,
            "most_items": weighting.tag_most_items,
        },
        "minimum": {"user_events": weighting.user_events, "item_events": weighting.item_events},
        "ratings": {
            "kinds": list(weighting.rating_kinds),
            "relevant_from": weighting.relevant_from,
            **({} if weighting.rating_scale is None else {"scale": list(weighting.rating_scale)}),
        },
        "against": {"kinds": list(weighting.against_kinds)},
    }
    lines = [_comment(line) for line in head.splitlines()]
    for table, content in tables.items():
        only_said = [key for name, key in remarks if name == table and key not in content]
        # An empty table of kinds is written too: without it views would have their default.
        if not content and not only_said and table != "kinds":
            continue
        lines += ["", f"[{table}]"]
        for key, value in content.items():
            remark = remarks.get((table, key), "")
            line = f"{_key(key)} = {_quoted(value)}"
            lines.append(f"{line}  {_comment(remark)}" if remark else line)
        lines += [_comment(f"{key}: {remarks[table, key]}") for key in only_said]
    return "\n".join(lines).lstrip("\n") + "\n"


def _comment(text: str) -> str:
    """One line: control characters are not allowed in a comment."""
    return ("# " + "".join(c if c.isprintable() else " " for c in text)).rstrip()


def _key(key: str) -> str:
    return key if PLAIN_KEY.fullmatch(key) else _quoted(key)


def _quoted(value: object) -> str:
    """A value in JSON, which writes numbers, texts and lists of texts as TOML does, except DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
