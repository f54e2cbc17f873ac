"""`model.toml`: what is set of the item table; `nichegraph tune model` writes it.

[table]
width = 300              # targets kept of each item
[ridge]
neighbours = 200         # support of each target's regression
penalty = 10.0
[spectrum]
dimensions = 768
[networks]
weight = 0.3             # of each network of the preset graph, beside the first scorer's 1
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from embeddings.item_item.table_settings import TableSettings
from graph.tables import Table, must, read_tables
from graph.toml_file import read_toml

Width = Annotated[
    int | None, Field(ge=20, le=2000), must("it must be a whole number from 20 to 2000")
]
Penalty = Annotated[
    float | None,
    Field(gt=0, le=1e6, allow_inf_nan=False),
    must("it must be a number above 0, at most 1000000"),
]
Dimensions = Annotated[
    int | None, Field(ge=8, le=4096), must("it must be a whole number from 8 to 4096")
]
Weight = Annotated[
    float | None, Field(ge=0, le=10, allow_inf_nan=False), must("it must be a number from 0 to 10")
]
PLACES = {
    "width": ("table", "width"),
    "neighbours": ("ridge", "neighbours"),
    "penalty": ("ridge", "penalty"),
    "dimensions": ("spectrum", "dimensions"),
    "network_weight": ("networks", "weight"),
}
"""Field of `TableSettings` -> table and key of the file."""


class _Table(Table):
    width: Width = None


class _Ridge(Table):
    neighbours: Width = None
    penalty: Penalty = None


class _Spectrum(Table):
    dimensions: Dimensions = None


class _Networks(Table):
    weight: Weight = None


class _File(Table):
    table: _Table = _Table()
    ridge: _Ridge = _Ridge()
    spectrum: _Spectrum = _Spectrum()
    networks: _Networks = _Networks()


def load_table_settings(path: Path) -> TableSettings:
    """Read `model.toml`; a missing file sets nothing, a wrong key is a `SettingError`."""
    file = read_tables(_File, read_toml(path), path.name)
    values = {name: getattr(getattr(file, table), key) for name, (table, key) in PLACES.items()}
    return TableSettings(**values)


def model_toml(settings: TableSettings, head: str) -> str:
    """The file that `load_table_settings` reads; `head` stands above it as a comment."""
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    written = settings.to_json()
    for table in dict.fromkeys(table for table, _ in PLACES.values()):
        own = {
            key: written[name]
            for name, (where, key) in PLACES.items()
            if where == table and name in written
        }
        if own:
            lines += ["", f"[{table}]", *(f"{key} = {value}" for key, value in own.items())]
    return "\n".join(lines) + "\n"
