"""A small application: shows a visitor a list, counts a click, and shows what changed.

    python shop.py http://127.0.0.1:8000 alice

The environment variable NICHEGRAPH_KEY holds the API key, where the service has keys.
"""

import os
import sys
import time

from nichegraph_client import Client, ServiceError


def main(address: str, visitor: str) -> int:
    """Print what the visitor is shown, before and after they open the first item."""
    try:
        with Client(address, key=os.environ.get("NICHEGRAPH_KEY")) as service:
            before = service.recommend(visitor, n=5)
            if not before.items:
                print("The catalogue is empty.")
                return 1
            for entry in before.items:
                reason = f" - {entry.reasons[0].text}" if entry.reasons else ""
                print(f"{entry.title or entry.item}{reason}")
            first = before.items[0]
            service.track(visitor, first.item, "play")
            time.sleep(1)  # by then every worker has heard of it
            after = service.recommend(visitor, n=5)
            print(f"\nAfter {first.title or first.item}:")
            for entry in after.items:
                print(entry.title or entry.item)
    except ServiceError as error:
        print(f"The shop goes on without recommendations: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
