"""The catalogue as a map: items that are alike lie near each other, the same for everybody."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.arrays import F32, Flags
from recommender.overlay.overlay import base_of
from recommender.releases.release import Release
from recommender.serving.map_layout import layout

NO_DOMAIN = 0xFFFF
MOST_REGIONS = 40  # named on the map


@dataclass(frozen=True)
class CatalogueMap:
    """The map of a release; computed when it is first asked for.

    An item that came after the refresh is placed beside the one it is most like; no other moves.
    """

    release: Release
    base: "CatalogueMap | None" = None  # the map without the items that came since

    @classmethod
    def over(cls, release: Release, last: "CatalogueMap | None" = None) -> "CatalogueMap":
        """Compute nothing yet; positions are taken over from `last`, a map of the same folder."""
        base = base_of(release)
        if base is release:
            return cls(release)
        lent = None if last is None else last.base or last
        return cls(release, lent if lent is not None and lent.release is base else cls(base))

    @cached_property
    def places(self) -> F32:
        """(i, 2) within -1 … 1."""
        if self.base is None:
            return layout(self.release.likeness, self.release.table.neighbours)
        old = self.base.places
        newer = np.asarray(self.release.likeness[len(old) :])  # (n, l)
        places = np.zeros((len(old) + len(newer), 2), np.float32)
        places[: len(old)] = old
        if not len(old):
            return places
        for number, vector in enumerate(newer):
            alike = self.base.release.likeness @ vector  # (i, l) @ (l,) -> (i,)
            if alike.max() > 0:  # else in the middle
                places[len(old) + number] = old[alike.argmax()]
        return places

    @cached_property
    def domains(self) -> npt.NDArray[np.uint16]:
        """(i,) the row of each item's strongest domain; NO_DOMAIN where it has none."""
        rows = self.release.item_domains
        strongest = np.full(len(rows), NO_DOMAIN, np.uint16)
        counts = np.diff(rows.indptr)
        owners = np.repeat(np.arange(len(rows)), counts)
        values = np.ones(len(rows.indices)) if rows.values is None else np.asarray(rows.values)
        order = np.lexsort((values, owners))  # the heaviest of each item comes last
        strongest[owners[order]] = np.minimum(rows.indices[order], NO_DOMAIN)
        return strongest

    @cached_property
    def regions(self) -> list[dict[str, Any]]:
        """The domains with most items: `name`, `domain` (its row), `items`, and where they lie."""
        counts = np.bincount(self.domains[self.domains != NO_DOMAIN], minlength=1)
        largest = np.argsort(-counts, kind="stable")[:MOST_REGIONS]
        regions = []
        for domain in largest[counts[largest] > 0].tolist():
            own = self.places[self.domains == domain]
            # A domain may lie in two parts with nothing between them: name it on an item.
            off = np.linalg.norm(own - np.median(own, axis=0), axis=1)
            x, y = own[off.argmin()].tolist()
            regions.append({
                "name": self.release.domains.id(domain), "domain": domain,
                "items": int(counts[domain]), "x": round(x, 4), "y": round(y, 4),
            })  # fmt: skip
        return regions

    def points(self, hidden: Flags) -> bytes:
        """Bytes of x f32 (i), y f32 (i), domain u16 (i), rarity u8 (i), little-endian.

        x is NaN for hidden items.
        """
        x = np.where(hidden, np.float32(np.nan), self.places[:, 0]).astype("<f4")
        y = self.places[:, 1].astype("<f4")
        rarity = np.round(255 * np.asarray(self.release.rarity)).astype(np.uint8)
        return b"".join(part.tobytes() for part in (x, y, self.domains.astype("<u2"), rarity))
