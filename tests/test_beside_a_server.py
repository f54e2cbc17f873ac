"""Commands beside a running server: every worker sees what they load and whom they erase."""

import shutil

from api.cli.main import run
from tests.test_api_worker import get, served, until

ASKED = 20  # answers in a row, so that both workers give some


def test_a_real_server_sees_what_a_command_loads_and_whom_another_erases(planted_home, tmp_path):
    home = shutil.copytree(planted_home.folder, tmp_path / "home")
    loaded = tmp_path / "more.csv"
    with served(home, "--workers", "2") as port:
        items = {entry["item"] for entry in get(port, "/v1/popular?n=3")["items"]}
        loaded.write_text("user,item\n" + "".join(f"late-comer,{item}\n" for item in items))

        def shown():
            """Which of the items some lists of one person show."""
            path = "/v1/users/late-comer/recommendations?n=50"
            lists = [get(port, path)["items"] for _ in range(ASKED)]
            return [items & {entry["item"] for entry in listed} for listed in lists]

        get(port, "/v1/events", {"user": "somebody", "item": min(items)})
        until(lambda: get(port, "/ready")["inbox"]["waiting"] == 0)  # its drainer runs
        assert shown() == [items] * ASKED
        assert run(["--home", str(home), "load", str(loaded)]) == 0
        until(lambda: shown() == [set()] * ASKED)
        assert run(["--home", str(home), "erase", "late-comer"]) == 0
        until(lambda: shown() == [items] * ASKED)
