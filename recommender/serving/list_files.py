"""Lists for everybody as a file: Parquet, a row per item, or JSON Lines, a line per user."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from graph.vocabulary import Vocabulary
from recommender.ranking.candidates import Ranking
from recommender.serving.batch import all_lists
from recommender.serving.recommend import Recommender

Write = Callable[[list[str], Ranking], None]  # users and their lists

SCHEMA = pa.schema(
    [
        ("user", pa.string()),
        ("item", pa.dictionary(pa.int32(), pa.string())),
        ("rank", pa.int16()),
        ("score", pa.float32()),
    ]
)


def write_lists(
    recommender: Recommender, out: Path, form: str, *, n: int, profile: str | None = None, now: int
) -> int:
    """Write every user's list into a file, aside first; how many lists.

    Args:
        recommender: erased users are left out.
        out: replaced when all lists are written.
        form: "parquet" or "jsonl".
        n: length of the lists.
        profile: of reranking; None: that of each user's segment.
        now: seconds since 1970, for freshness and for rules that hold at certain times.
    """
    release, lists, aside = recommender.release, 0, out.with_name(f"{out.name}.part")
    opened = _parquet if form == "parquet" else _json_lines
    try:
        with opened(aside, release.items) as write:
            for rows, ranking in all_lists(recommender, n, profile=profile, now=now):
                write(release.users.ids(rows), ranking)
                lists += len(rows)
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)  # there only when something went wrong
    return lists


@contextlib.contextmanager
def _parquet(path: Path, items: Vocabulary) -> Iterator[Write]:
    names = pa.array(items)
    with pq.ParquetWriter(path, SCHEMA) as writer:

        def write(users: list[str], lists: Ranking) -> None:
            at, places = np.nonzero(lists.items >= 0)
            columns = [
                pa.array(users).take(pa.array(at)),
                pa.DictionaryArray.from_arrays(pa.array(lists.items[at, places]), names),
                pa.array((places + 1).astype(np.int16)),
                pa.array(lists.scores[at, places]),
            ]
            writer.write_table(pa.table(columns, schema=SCHEMA))

        yield write


@contextlib.contextmanager
def _json_lines(path: Path, items: Vocabulary) -> Iterator[Write]:
    names = list(items)
    with path.open("wb") as file:

        def write(users: list[str], lists: Ranking) -> None:
            for user, rows, scores in zip(users, lists.items, lists.scores, strict=True):
                there = rows >= 0
                line = {
                    "user": user,
                    "items": [names[row] for row in rows[there].tolist()],
                    "scores": scores[there].tolist(),
                }
                file.write(orjson.dumps(line) + b"\n")

        yield write
