"""Asks a running server through a client that openapi-python-client made from its description."""

import json
import sys

from made import Client
from made.api.items import popular_items, similar_items
from made.api.recommendations import recommend, recommend_to_many
from made.models import ProblemAnswer, RecommendationsBody, Subject, SubjectContextType0

address, user = sys.argv[1:]
client = Client(base_url=address)
own = recommend.sync(user, client=client, n=5, filter_=json.dumps({"not": {"items": ["x"]}}))
device = SubjectContextType0()
device["device"] = "phone"
body = RecommendationsBody(
    [Subject(user=user, n=5), Subject(items=[own.items[0].item], context=device)]
)
many = recommend_to_many.sync(client=client, body=body)
first = popular_items.sync(client=client, n=5)
second = popular_items.sync(client=client, n=5, cursor=first.next_)
wrong = similar_items.sync("no such/item", client=client)
assert isinstance(wrong, ProblemAnswer)
print(
    json.dumps(
        {
            "own": [entry.item for entry in own.items],
            "many": [[entry.item for entry in answer.items] for answer in many.answers],
            "pages": [entry.item for entry in first.items + second.items],
            "wrong": [wrong.status, len(wrong.errors or [])],
        }
    )
)
