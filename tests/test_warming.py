"""A server has compiled what lists need before it says that it is ready, those of new items too."""

import json
import subprocess
import sys

PROGRAM = """
import gc, json, sys
from pathlib import Path
from numba.core.registry import CPUDispatcher
from api.app import create_app
from api.settings import load_settings

client = create_app(load_settings(Path(sys.argv[1]))).test_client()

def compiled():
    functions = [each for each in gc.get_objects() if isinstance(each, CPUDispatcher)]
    own = [each for each in functions if not each.__module__.startswith("numba")]
    return {(each.__qualname__, str(types)) for each in own for types in each.signatures}

def ask(method, path, body=None):
    answer = client.open(path, method=method, json=body)
    assert answer.status_code < 300, (path, answer.data)
    return answer.json

def lists(item):
    for user in (sys.argv[2], "nobody"):
        ask("GET", f"/v1/users/{user}/recommendations?n=5")
        ask("GET", f"/v1/users/{user}/recommendations?n=5&reasons=false")
    for kind in ("popular", "latest", "trending"):
        ask("GET", f"/v1/{kind}?n=5")
    subjects = [{"session": [item]}, {"user": sys.argv[2], "session": [item]}]
    ask("POST", "/v1/recommendations", {"subjects": subjects})
    return ask("GET", f"/v1/items/{item}/similar?n=5")["items"]

ready = compiled()
(first,) = ask("GET", "/v1/popular?n=1")["items"]
lists(first["item"])
before = compiled()
ask("PUT", "/v1/items/fresh", {"title": "Fresh", "tags": first["tags"]})
near = lists("fresh")
ask("POST", "/v1/events", {"user": "nobody", "item": "fresh"})
near += lists("fresh")
print(json.dumps([len(ready), sorted(before - ready), sorted(compiled() - before), len(near)]))
"""


def test_nothing_is_compiled_any_more_when_lists_are_asked_for_or_an_item_comes(home, planted):
    """In a process of its own, since a function that is compiled once is so for the process."""
    user = planted.answers.users[0]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home.folder), user],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    at_start, for_lists, for_new_items, near = json.loads(done.stdout.splitlines()[-1])
    assert at_start > 0
    assert for_lists == []
    assert for_new_items == []
    assert near == 2 * 5  # it has found its place
