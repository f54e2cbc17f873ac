"""Segments of users and nearest items, as models found them, to be explored beside the facts.

Findings are never part of a snapshot, a fingerprint or a migration (`docs/neo4j.md`).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SEGMENTS = pa.schema([("user", pa.string()), ("segment", pa.string())])
NEAR = pa.schema([("source", pa.string()), ("target", pa.string()), ("score", pa.float64())])


@dataclass(frozen=True)
class Findings:
    """Two tables of ids; users and items that the graph no longer has are passed over."""

    segments: pa.Table  # columns of SEGMENTS: one row per user in a segment
    near: pa.Table  # columns of NEAR: one row per item and near item

    def digest(self) -> str:
        """Hex SHA-256 of both tables."""
        digest = hashlib.sha256()
        for table in (self.segments, self.near):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table.combine_chunks())
            digest.update(sink.getvalue())
        return digest.hexdigest()


def save_findings(findings: Findings, folder: Path) -> None:
    """Keep the findings of the newest refresh in the `explore` folder."""
    target = folder / "findings"
    target.mkdir(parents=True, exist_ok=True)
    for name, table in (("segments", findings.segments), ("near", findings.near)):
        aside = target / f".{name}.parquet"
        pq.write_table(table, aside)
        aside.replace(target / f"{name}.parquet")


def load_findings(folder: Path) -> Findings | None:
    """The findings that `save_findings` kept, or None when there are none."""
    source = folder / "findings"
    try:
        return Findings(
            pq.read_table(source / "segments.parquet", schema=SEGMENTS),
            pq.read_table(source / "near.parquet", schema=NEAR),
        )
    except FileNotFoundError:
        return None
