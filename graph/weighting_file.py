"""A weighting written as the TOML file that `load_weighting` reads, with a remark per weight."""

import json
import re
from collections.abc import Mapping

from graph.weighting import Weighting

PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def weighting_toml(
    weighting: Weighting, remarks: Mapping[tuple[str, str], str], head: str = ""
) -> str:
    """The whole weighting as TOML; what is not said in the file would have its default.

    Args:
        weighting: what to write; reading the text gives it back.
        remarks: (table, key) -> a remark beside that weight, for instance ("kinds", "view").
            A remark of a key that has no line, such as an age that does not matter, gets its own.
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
        # An empty table of kinds is said too: without it views would have their default.
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
    """JSON writes numbers, strings and lists of strings as TOML does, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
