"""Looking around in what is served: search, the graph node by node, the map."""

from typing import Any

from flask import Response
from flask_openapi3 import OpenAPI, Tag

from api.errors import Problem
from api.explore_schemas import (
    AroundQuery,
    GraphAnswer,
    MapAnswer,
    MapItemsAnswer,
    MapItemsQuery,
    MapQuery,
    PopularityAnswer,
    SearchAnswer,
    SearchQuery,
)
from api.inputs import asked_from_here, checked, has_key
from api.schemas import ItemPath, NoQuery
from graph.errors import NotFound
from graph.model import NO_ROW
from recommender.serving.explain import title
from recommender.serving.live import Live
from recommender.serving.look import search_hits
from recommender.serving.neighbourhood import around, history, spans

TAG = Tag(name="explore", description="Exploring the release that is served.")
BYTES = "application/octet-stream"
HERE_ONLY = "users are shown only to this machine and to keys with the scope privacy"


def register(app: OpenAPI, live: Live) -> None:
    """Add the routes."""

    @app.get(
        "/v1/search",
        tags=[TAG],
        summary="Search for items, tags and users; users only for this machine or a `privacy` key",
        responses={200: SearchAnswer},
    )
    @checked
    def search(query: SearchQuery) -> dict[str, Any]:
        kinds = list(dict.fromkeys(query.kind))
        notes = []
        if "user" in kinds and not (asked_from_here() or has_key("privacy")):
            kinds.remove("user")
            notes.append(HERE_ONLY)
        recommender = live.recommender()
        hits = [hit for kind in kinds for hit in search_hits(recommender, kind, query.q, query.n)]
        return {"hits": hits, "release": recommender.release.name, "notes": notes}

    @app.get(
        "/v1/graph",
        tags=[TAG],
        summary="A node and what is one step away; users only for this machine or a `privacy` key",
        responses={200: GraphAnswer},
    )
    @checked
    def get_neighbourhood(query: AroundQuery) -> dict[str, Any]:
        if query.kind == "user":
            _here()
        recommender = live.recommender()
        part = around(recommender, query.kind, query.id, query.n)
        return {"nodes": part.nodes, "edges": part.edges, "release": recommender.release.name}

    @app.get(
        "/v1/items/<id:item>/popularity",
        tags=[TAG],
        summary="When people chose an item; nothing if fewer than 40 did",
        responses={200: PopularityAnswer},
    )
    @checked
    def get_popularity(path: ItemPath, query: NoQuery) -> dict[str, Any]:
        del query
        recommender = live.recommender()
        row = recommender.release.items.row(path.item)
        if row == NO_ROW or recommender.overlay.hidden[row]:
            raise NotFound(f"there is no item {path.item!r} in release {recommender.release.name}")
        return {
            "spans": spans(recommender.release, row, recommender.overlay.uncounted),
            "release": recommender.release.name,
        }

    @app.get(
        "/v1/map",
        tags=[TAG],
        summary="The map of the catalogue: its regions, and the release it belongs to",
        responses={200: MapAnswer},
    )
    @checked
    def get_map(query: NoQuery) -> dict[str, Any]:
        del query
        recommender = live.recommender()
        release = recommender.release
        regions = recommender.opened.map.regions
        return {"release": release.name, "items": len(release.items), "regions": regions}

    @app.get(
        "/v1/map/points",
        tags=[TAG],
        summary="The points of the map: x and y (f32), domain (u16) and rarity (u8) of every item",
        description="Little-endian, one array after the other, in the order of the map's rows. x "
        "is NaN for hidden items; the domain is 65535 for none; a rarity of 255 is the rarest.",
        responses={200: {"content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}}},
    )
    @checked
    def get_map_points(query: MapQuery) -> Response:
        recommender = live.recommender()
        if query.release != recommender.release.name:
            raise Problem(404, f"the map of release {query.release[:80]!r} is no longer served")
        data = recommender.opened.map.points(recommender.overlay.hidden)
        return Response(data, content_type=BYTES)

    @app.get(
        "/v1/map/items",
        tags=[TAG],
        summary="Which items lie at given rows of the map, and at which rows given items lie",
        responses={200: MapItemsAnswer},
    )
    @checked
    def get_map_items(query: MapItemsQuery) -> dict[str, Any]:
        recommender = live.recommender()
        release, hidden = recommender.release, recommender.overlay.hidden
        rows = [row for row in query.row if row < len(release.items)]
        rows += [row for row in release.items.rows(query.item).tolist() if row != NO_ROW]
        if query.user is not None:
            _here()
            user = recommender.overlay.user_row(query.user)
            rows += [] if user == NO_ROW else history(recommender, user).tolist()
        shown = [row for row in dict.fromkeys(rows) if not hidden[row]]
        items = [{"row": r, "id": release.items.id(r), "title": title(release, r)} for r in shown]
        return {"items": items, "release": release.name}


def _here() -> None:
    if not (asked_from_here() or has_key("privacy")):
        raise Problem(403, HERE_ONLY)
