"""What is set of an item table, in place of what would be chosen or is usual."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TableSettings:
    """Each is None where it is left to the choice, or to the preset."""

    width: int | None = None
    """Targets of each history item, in the table and while scores are blended."""
    neighbours: int | None = None
    """Support of each target's ridge regression, and weights kept of it; at most the width."""
    penalty: float | None = None
    """Of all ridges, in units of `mean_square`."""
    dimensions: int | None = None
    """Singular vectors of the spectrum."""
    network_weight: float | None = None
    """Of each trained network, beside the first scorer's 1."""

    def to_json(self) -> dict[str, Any]:
        """Only what is set."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "TableSettings":
        """From what `to_json` gave."""
        return cls(**values)
