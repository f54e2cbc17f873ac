"""`nichegraph export`: the graph, or the neighbourhood of a node, as GraphML."""

from pathlib import Path
from typing import Annotated

import typer

from api.bootstrap import note, now, open_home, open_store
from api.cli.output import Encrypt, say, step
from api.settings import load_settings
from graph.errors import InputError
from graph.ids import as_id


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("export")(export)


def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="GraphML file to write.")],
    user: Annotated[str | None, typer.Option(help="Only the neighbourhood of this user.")] = None,
    item: Annotated[str | None, typer.Option(help="Only the neighbourhood of this item.")] = None,
    tag: Annotated[
        str | None, typer.Option(help="Only the neighbourhood of this tag, as category:name.")
    ] = None,
    hops: Annotated[
        int, typer.Option(min=1, max=5, help="How many steps the neighbourhood reaches.")
    ] = 1,
    encrypt: Encrypt = None,
) -> None:
    """Write the graph as GraphML (Gephi, yEd, networkx).

    Users, items, tags and their weighted edges.

    \b
    nichegraph export all.graphml
    nichegraph export around.graphml --item bwv-1004 --hops 2
    nichegraph export all.graphml.age --encrypt age1…
    """
    from graph.convert import ego_network, network, to_graphml
    from graph.snapshot import take_snapshot
    from graph.weighting import weigh
    from graph.weighting_file import load_weighting
    from recommender.releases.age import new_file

    around = [
        (kind, as_id(name)) for kind, name in (("user", user), ("item", item), ("tag", tag)) if name
    ]
    if len(around) > 1:
        raise InputError("--user, --item and --tag: name one of them")
    settings = load_settings(ctx.obj)
    store = open_store(settings)
    try:
        step("taking a snapshot")
        snapshot = take_snapshot(store)
    finally:
        store.close()
    weighted = weigh(snapshot, load_weighting(open_home(settings).weighting), now())
    if around:
        graph = ego_network(snapshot, weighted, *around[0], hops)
    else:
        graph = network(snapshot, weighted)
    with new_file(file, encrypt) as opened:
        to_graphml(graph, opened)
    note(open_home(settings), "export", nodes=graph.number_of_nodes(), around=bool(around))
    say(f"{file}: {graph.number_of_nodes():,} nodes, {graph.number_of_edges():,} edges")
