"""What is made of a release once, and shared by every recommender over it."""

from collections.abc import Mapping
from dataclasses import dataclass

from recommender.ranking.ranker import Defect, Ranker
from recommender.ranking.sources import ITEMS, SEQUENCE, Sources
from recommender.releases.release import Release
from recommender.serving.catalogue_map import CatalogueMap
from recommender.serving.circles import Circles
from recommender.serving.search import Search


@dataclass(frozen=True)
class Opened:
    """What is made of a release once, and shared by every recommender over it."""

    sources: Sources
    fused: Mapping[str, float]  # the sources of every list, and their weights
    ranker: Ranker
    circles: Circles
    search: Search
    map: CatalogueMap
    defect: Defect

    @classmethod
    def of(
        cls, release: Release, threads: int, defect: Defect, last: "Opened | None" = None
    ) -> "Opened":
        """Open the indexes, or use those of `last`, of the same folder; nothing is searched."""
        sources = Sources(release, threads, None if last is None else last.sources)
        fused = {ITEMS: 1.0, **{name: w for name, w in release.sources.items() if w > 0}}
        if release.sequence is not None:
            fused[SEQUENCE] = float(release.manifest["recipe"]["sequence_weight"])
        ranker = Ranker(release, sources, fused, defect)
        return cls(
            sources=sources,
            fused=fused,
            ranker=ranker,
            circles=Circles(release),
            search=Search(release, None if last is None else last.search),
            map=CatalogueMap.over(release, None if last is None else last.map),
            defect=defect,
        )
