"""Finds out which column of a file means what: as given, else by how well its name fits.

The best fit is taken: in a table of events `book_id` is a better name for an item than `id`. If two
names fit equally well, the file is refused and both are named. It is also refused if a column that
only numbers the rows stands beside one that may be the real id.
"""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from graph.errors import InputError
from graph.model import SCHEMAS
from graph.stores.batch import REQUIRED
from graph.whole import whole_number
from loaders.format import Options

LISTS = ("domains", "tags")
TYPES = ("text", "number", "flag", "date", "list")
USER_WORDS = (
    "user", "customer", "account", "member", "visitor", "listener", "reader", "viewer",
    "reviewer", "person", "player", "buyer", "shopper", "subscriber", "client", "patron",
)  # fmt: skip
ITEM_WORDS = (
    "item", "product", "article", "movie", "film", "book", "track", "song", "album", "artist",
    "recipe", "video", "game", "podcast", "episode", "show", "anime", "business", "venue",
    "location", "paper", "post", "listing", "restaurant", "course", "beer", "story", "work",
)  # fmt: skip
OTHER_IDS = (
    "event", "session", "order", "transaction", "row", "record", "index", "device", "cart",
    "invoice", "visit", "request", "interaction", "rating", "review", "log", "friend", "parent",
    "tag", "genre", "category", "domain", "app", "tenant", "shop", "store",
)  # fmt: skip
RATING_NAMES = ("rating", "ratings", "stars", "userrating", "overall")
"""Names of columns with ratings, as `plain` writes them."""


def _ids(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{word}id" for word in words)


ALIASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "user": (("userid", "uid"), _ids(USER_WORDS), (*USER_WORDS, "username")),
    "item": (("itemid", "iid"), _ids(ITEM_WORDS), (*ITEM_WORDS, "sku", "asin", "isbn"), ()),
    "value": (RATING_NAMES, ("score",), ("count", "plays", "playcount")),
    "kind": (("eventtype", "eventkind"), ("type", "event", "action")),
    "tag": (("tagname", "keyword"),),
    "at": (
        ("timestamp", "datetime"), ("time", "date", "when"),
        ("createdat", "eventtime", "eventdate"), (),
    ),
    "event_id": ((),),
    "title": (("name",), tuple(f"{word}title" for word in ITEM_WORDS)),
    "created_at": (
        ("created", "published", "publishedat", "released", "releasedate"), ("date",),
        ("timestamp",),
    ),
    "domain": (("domainname",),),
    "source": (("from", "sourceid"),),
    "target": (("to", "targetid"),),
    "domains": (("domain",),),
    "tags": (("keywords",), ("tag",)),
    "tags:genre": (("genres",), ("genre",)),
}  # fmt: skip
"""Column -> other names for it, as `plain` writes them, the best first; `()`: see `_rank`."""
IDS_OF = {"items": ("item", ITEM_WORDS), "users": ("user", USER_WORDS)}


@dataclass(frozen=True)
class Layout:
    """What the columns of a file mean; places count from 0."""

    table: str
    columns: Mapping[str, int]  # column of SCHEMAS -> place
    lists: Mapping[str, int]  # "domains", "tags" or "tags:CATEGORY" -> place
    attributes: Mapping[str, int]  # name -> place
    types: Mapping[str, str]  # attribute -> one of TYPES, if given
    ignored: tuple[str, ...] = ()  # names of columns that are not used
    numbering: str | None = None  # may be the real id if `id` only numbers the rows


def resolve(names: list[str], options: Options, file: Path, *, strict: bool = True) -> Layout:
    """Find the columns of a file by their names; errors say which cannot be found.

    Without a header the names are the positions, "1", "2", …, and the required columns are the
    first ones, unless some columns are mapped.

    Raises:
        InputError: an unknown table or column; if `strict`, a required column is missing, or
            two fit equally well.
    """
    table = options.table
    if table not in SCHEMAS:
        raise InputError(f"there is no table {table!r}; there are {', '.join(SCHEMAS)}")
    known = [name for name in SCHEMAS[table].names if name != "attributes"]
    known += LISTS if table == "items" else ()
    described = table in ("items", "users")  # has attributes
    places: dict[str, int] = {}
    attributes: dict[str, int] = {}
    types: dict[str, str] = {}
    for column, reference in options.columns.items():
        head, _, name_and_type = column.partition(":")
        if head == "attr" and name_and_type and described:
            name, _, kind = name_and_type.partition(":")
            if kind and kind not in TYPES:
                raise InputError(f"column {column!r}: {kind!r} is not one of {', '.join(TYPES)}")
            types |= {name: kind} if kind else {}
        elif column not in known and not (table == "items" and head == "tags"):
            raise InputError(f"column {column!r} is not one of {table}: {', '.join(known)}")
        position = _position_of(names, reference)
        if position is None and strict:
            near = difflib.get_close_matches(str(reference), names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {listed(names)}"
            raise InputError(f"{file}: there is no column {reference!r} for {column}{hint}")
        if position is not None:
            (attributes if head == "attr" else places)[name if head == "attr" else column] = (
                position
            )
    required = [name for name in REQUIRED[table] if name not in ("kind", "category")]
    if options.header:
        for column in (*known, *(("tags:genre",) if table == "items" else ())):
            if column not in places:
                taken = {*places.values(), *attributes.values()}
                if described and column not in required:
                    taken |= _kept(column, names, options, table)
                position = _best(column, names, taken, table, file, strict=strict)
                places |= {} if position is None else {column: position}
    elif not places and len(names) >= len(required):
        places = {name: position for position, name in enumerate(required)}
    for column in required:
        if column not in places and strict:
            hint = "; the first line looks like data: --no-header" if _like_data(names) else ""
            raise InputError(
                f"{file}: no column for {column!r}; say which it is by name or position, such as "
                f"--column {column}=NAME. The file has {listed(names)}{hint}"
            )
    left = {
        name: position
        for position, name in enumerate(names)
        if position not in {*places.values(), *attributes.values()}
    }
    if described and options.header:
        attributes |= _asked_for(left, options, file, strict)
    lists = {name: position for name, position in places.items() if name.split(":")[0] in LISTS}
    columns = {name: position for name, position in places.items() if name not in lists}
    ignored = tuple(name or "(no name)" for name in left if name not in attributes)
    doubtful = left if options.attributes == "all" else left.keys() - {*options.attributes}
    numbering = _real_id(table, columns, names, doubtful)
    return Layout(table, columns, lists, attributes, types, ignored, numbering)


def plain(name: str) -> str:
    """A name in lower case with only its letters and digits; a category stays as it is."""
    head, colon, tail = name.lower().partition(":")
    return "".join(filter(str.isalnum, head)) + colon + tail


def listed(names: list[str]) -> str:
    """The first few names of columns, for a message."""
    shown = ", ".join(repr(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _best(
    column: str, names: list[str], taken: set[int], table: str, file: Path, *, strict: bool
) -> int | None:
    """The place of the free column that fits best; two that fit equally well are refused."""
    ranks: dict[int, list[int]] = {}
    for position, name in enumerate(names):
        rank = _rank(column, name, table)
        if position not in taken and rank is not None:
            ranks.setdefault(rank, []).append(position)
    if not ranks:
        return None
    best = ranks[min(ranks)]
    if len(best) > 1 and strict:
        both = " and ".join(repr(names[position]) for position in best)
        same = names[best[0]] == names[best[1]]
        raise InputError(
            f"{file}: {both} could both be {column!r}; say which one is, such as "
            f"--column {column}={best[0] + 1 if same else names[best[0]]}"
        )
    return best[0]


def _rank(column: str, name: str, table: str) -> int | None:
    """How well a name fits a column, 0 is best; None: not at all."""
    name = plain(name)
    if name == plain(column):
        return 0
    tiers: tuple[tuple[str, ...], ...] = ALIASES.get(column, ())
    if column == "id":
        own, words = IDS_OF[table]
        tiers = ((f"{own}id", own), _ids(words), words)
    for rank, tier in enumerate(tiers, 1):
        if name in tier:
            return rank
    if column == "item" and name != "id" and re.fullmatch(r"[a-z]+id", name):
        word = name.removesuffix("id")  # the id of something that is not in our lists
        return None if word in (*USER_WORDS, *OTHER_IDS, "u") else 8
    if column == "item" and name == "id":
        return 9
    if column == "at" and name.endswith(("timestamp", "edat")) and not name.startswith("updat"):
        return 8
    return None


def _real_id(
    table: str, columns: Mapping[str, int], names: list[str], left: Collection[str]
) -> str | None:
    """A column that looks like the real id, if the one taken is just named `id`."""
    if table not in IDS_OF or "id" not in columns or plain(names[columns["id"]]) != "id":
        return None
    own, words = IDS_OF[table]
    return next(
        (name for name in names if name in left and plain(name) in (f"{own}id", *_ids(words))), None
    )


def _kept(column: str, names: list[str], options: Options, table: str) -> set[int]:
    """The places that `--attributes` names and that a guess may not take for `column`."""
    if options.attributes == "all":
        return set()
    return {
        position
        for position, name in enumerate(names)
        if name in options.attributes and _rank(column, name, table) != 0
    }


def _asked_for(
    left: Mapping[str, int], options: Options, file: Path, strict: bool
) -> Iterator[tuple[str, int]] | dict[str, int]:
    """The unused columns that become attributes; an object named `attributes` always does."""
    if options.attributes == "all":
        return {name: position for name, position in left.items() if name}
    missing = [name for name in options.attributes if name not in left]
    if missing and strict:
        near = difflib.get_close_matches(missing[0], left, 1)
        free = listed(list(left))
        hint = f"did you mean {near[0]!r}?" if near else f"the free columns are {free}"
        raise InputError(f"{file}: --attributes: there is no free column {missing[0]!r}; {hint}")
    return {name: left[name] for name in left if name in (*options.attributes, "attributes")}


def _like_data(names: list[str]) -> bool:
    """Whether most of what should be names are numbers."""
    numbers = [name for name in names if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", name)]
    return 2 * len(numbers) > len(names)


def _position_of(names: list[str], reference: str | int) -> int | None:
    if str(reference) in names:
        return names.index(str(reference))
    number = reference if isinstance(reference, int) else whole_number(reference)
    return number - 1 if number is not None and 0 < number <= len(names) else None
