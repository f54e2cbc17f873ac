"""Compiled code made ready before anybody waits for it, that for new items included.

Numba compiles a function when it is first called, which takes seconds, and keeps it on the disk.
"""

from recommender.inbox.facts import PUT, Row
from recommender.overlay.overlay import Overlay, base_of
from recommender.ranking.request import Request
from recommender.serving.live_items import LiveItems
from recommender.serving.recommend import Recommender

MADE_UP = "\x02"  # an item's id that nobody can send


def warm(recommender: Recommender, *, now: int) -> None:
    """Make lists as applications ask for them, over the release and a new item; then forget them.

    Arrays of a release have the same types with newer items and without, so what is compiled for
    the one holds for the other, too.
    """
    release = base_of(recommender.release)
    if not len(release.items):
        return
    items = LiveItems(release, recommender.overlay.agreed)
    like = release.card(0)
    about = {"id": MADE_UP, "title": like["title"], "tags": [{"tag": tag} for tag in like["tags"]]}
    items.change({MADE_UP: [Row(1, PUT, about, now)]})
    over = recommender.following(overlay=Overlay.over(items.release_with_all()))
    requests = [Request(n=1), Request(items={release.items.id(0): 1.0}, n=1)]
    if len(release.users):
        requests.append(Request(user=release.users.id(0), n=1))
    if like["tags"]:
        requests.append(Request(tags=tuple(like["tags"]), n=1))
    for request in requests:
        over.recommend_json([request], now=now)
