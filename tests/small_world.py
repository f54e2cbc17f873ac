"""A catalogue small enough to check by eye, with everything a question can ask about.

Four domains of 20 items each; users of a domain like its items, and some bridge two domains.
Every domain has three tags of its own; `shared` is on items of two domains; `item-78` and
`item-79` are orphans; tags `lonely-…` are only on items nobody touched; `rising` is given late.
"""

import random
from typing import Any

import pyarrow as pa

from graph.findings import NEAR, SEGMENTS, Findings
from graph.model import table

DOMAINS = ("baroque", "graph theory", "noir", "sourdough")
USERS, ITEMS, DAY = 48, 80, 86_400
START = 1_600_000_000


def batch() -> dict[str, pa.Table]:
    """All facts, the same at every call."""
    draw = random.Random(5)
    items = [
        {
            "id": f"item-{i:02}",
            "title": f"Title {i}" if i % 7 else None,
            "created_at": START - i * DAY if i % 5 else None,
            "hidden": i == 11,
            "attributes": '{"pages": 12}' if i % 3 == 0 else None,
        }
        for i in range(ITEMS)
    ]
    users = [{"id": f"ana {u}" if u % 9 == 0 else f"user-{u:02}"} for u in range(USERS)]
    names = [str(user["id"]) for user in users]
    return {
        "users": table("users", users),
        "items": table("items", items),
        "item_tags": table("item_tags", _item_tags()),
        "item_domains": table(
            "item_domains",
            [
                {"item": f"item-{i:02}", "domain": DOMAINS[i // 20], "weight": 1.0}
                for i in range(ITEMS - 1)
            ]
            + [{"item": "item-05", "domain": DOMAINS[1], "weight": 0.5}],
        ),
        "events": table("events", _events(draw, names)),
        "item_relations": table(
            "item_relations",
            [
                {
                    "source": f"item-{i:02}",
                    "target": f"item-{(i * 7 + 3) % 78:02}",
                    "kind": "cites",
                    "weight": 1.0,
                }
                for i in range(0, 78, 2)
                if i != (i * 7 + 3) % 78
            ],
        ),
        "user_relations": table(
            "user_relations",
            [
                {"source": names[u], "target": names[(u * 5 + 1) % USERS], "kind": "friend"}
                for u in range(USERS)
                if u != (u * 5 + 1) % USERS
            ],
        ),
    }


def findings() -> Findings:
    """Two segments, and two near items for each of ten."""
    names = batch()["users"]["id"].to_pylist()
    segments = [{"user": name, "segment": f"s{number % 2}"} for number, name in enumerate(names)]
    near = [
        {"source": f"item-{i:02}", "target": f"item-{i + step:02}", "score": 1 / step}
        for i in range(10)
        for step in (1, 2)
    ]
    return Findings(
        pa.Table.from_pylist(segments, schema=SEGMENTS), pa.Table.from_pylist(near, schema=NEAR)
    )


def _item_tags() -> list[dict[str, Any]]:
    rows = []
    for i in range(ITEMS):
        tags = [f"{DOMAINS[i // 20]} {i % 3}"]
        if i % 20 < 3 and i < 40:
            tags.append("shared")
        if i >= 78:
            tags = [f"lonely-{i}"]
        rows += [
            {"item": f"item-{i:02}", "category": "tag", "tag": tag, "weight": 1.0} for tag in tags
        ]
        rows.append(
            {"item": f"item-{i:02}", "category": "genre", "tag": DOMAINS[i // 20], "weight": 0.5}
        )
    return rows


def _events(draw: random.Random, names: list[str]) -> list[dict[str, Any]]:
    rows = []
    for u, name in enumerate(names):
        homes = [u % 4] if u % 6 else [u % 4, (u + 1) % 4]
        for home in homes:
            for i in draw.sample(range(home * 20, min(home * 20 + 20, 78)), 7):
                at = START + draw.randrange(700) * DAY + draw.randrange(DAY)
                row = {"user": name, "item": f"item-{i:02}", "at": at}
                rows.append(row | {"kind": "like", "value": float(draw.randrange(1, 6))})
                if i % 4 == 0:
                    rows.append(row | {"kind": "tag", "tag": f"{DOMAINS[home]} {i % 3}"})
                if at > START + 500 * DAY and home == 0:
                    rows.append(row | {"kind": "tag", "tag": "rising"})
                if i % 13 == 0:
                    rows.append(row | {"kind": "hide", "at": None})
    return rows
