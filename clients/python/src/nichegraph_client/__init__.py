"""Asks a nichegraph service for recommendations, and tells it what users do.

    with Client("http://127.0.0.1:8000", key="ng_…") as service:
        service.recommend("alice", n=5)
        service.track("alice", "goldberg", "play")

`AsyncClient` has the same methods, to be awaited. A method is named like its operation in the
service's OpenAPI document.
"""

from nichegraph_client.async_client import AsyncClient
from nichegraph_client.bodies import Event, Filter, ItemFields, NewItem, Subject
from nichegraph_client.client import Client
from nichegraph_client.errors import Malformed, Problem, ServiceError, Unreachable
from nichegraph_client.retries import Retries
from nichegraph_client.signing import pixel_address, subject_token

__all__ = [
    "AsyncClient",
    "Client",
    "Event",
    "Filter",
    "ItemFields",
    "Malformed",
    "NewItem",
    "Problem",
    "Retries",
    "ServiceError",
    "Subject",
    "Unreachable",
    "pixel_address",
    "subject_token",
]
