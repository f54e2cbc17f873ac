"""Takes back what a load brought into the embedded store."""

import sqlite3

LINKS = ("events", "item_tags", "item_domains", "item_relations", "user_relations")
_USED_ITEMS = """SELECT item FROM events UNION SELECT item FROM item_tags
    UNION SELECT item FROM item_domains UNION SELECT source FROM item_relations
    UNION SELECT target FROM item_relations"""
_USED_USERS = """SELECT user FROM events UNION SELECT source FROM user_relations
    UNION SELECT target FROM user_relations"""


def take_back(db: sqlite3.Connection, load: int) -> dict[str, int]:
    """See `GraphStore.undo_load`; runs inside the caller's transaction."""
    gone, changed = {}, 0
    for table in LINKS:
        changed += db.execute(f"SELECT count(*) FROM {table} WHERE load = ?", (-load,)).fetchone()[
            0
        ]
        gone[table] = db.execute(
            f"DELETE FROM {table} WHERE load IN (?, ?)", (load, -load)
        ).rowcount
    for table, columns in (
        ("users", ("attributes",)),
        ("items", ("title", "created_at", "attributes")),
    ):
        others = f"SELECT count(*) FROM {table} WHERE described = ?"
        changed += db.execute(others, (-load,)).fetchone()[0]
        cleared = ", ".join(f"{column} = NULL" for column in columns)
        update = f"UPDATE {table} SET described = 0, {cleared} WHERE described IN (?, ?)"
        db.execute(update, (load, -load))
    shown = "UPDATE items SET hidden = 0, hider = 0 WHERE hider = ?"
    gone["shown"] = db.execute(shown, (load,)).rowcount
    gone["items"] = db.execute(
        "DELETE FROM items WHERE load = ? AND described = 0 AND NOT hidden "
        f"AND key NOT IN ({_USED_ITEMS})",
        (load,),
    ).rowcount
    gone["users"] = db.execute(
        "DELETE FROM users WHERE load = ? AND described = 0 AND consent "
        f"AND key NOT IN ({_USED_USERS})",
        (load,),
    ).rowcount
    db.execute("UPDATE loads SET undone = 1 WHERE key = ?", (load,))
    return gone | {"changed": changed}
