"""Lists for everybody as a file: Parquet, a row per item, or JSON Lines, a line per user."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from graph.vocabulary import Vocabulary
from recommender.ranking.candidates import Ranking
from recommender.releases.age import new_file
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
    recommender: Recommender,
    out: Path,
    form: str,
    *,
    n: int,
    profile: str | None = None,
    recipient: str | None = None,
    now: int,
) -> int:
    """Write every user's list into a file, aside first; how many lists.

    Args:
        recommender: erased users are left out.
        out: replaced when all lists are written.
        form: "parquet" or "jsonl".
        n: length of the lists.
        profile: of reranking; None: that of each user's segment.
        recipient: public key of age, for whom the file is encrypted; None: it is not.
        now: seconds since 1970, for freshness and for rules that hold at certain times.
    """
    release, lists = recommender.release, 0
    opened = _parquet if form == "parquet" else _json_lines
    with new_file(out, recipient) as file, opened(file, release.items) as write:
        for rows, ranking in all_lists(recommender, n, profile=profile, now=now):
            write(release.users.ids(rows), ranking)
            lists += len(rows)
    return lists


@contextlib.contextmanager
def _parquet(file: IO[bytes], items: Vocabulary) -> Iterator[Write]:
    names = pa.array(items)
    with pq.ParquetWriter(file, SCHEMA) as writer:

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
def _json_lines(file: IO[bytes], items: Vocabulary) -> Iterator[Write]:
    names = list(items)

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
