"""`nichegraph serve`: answer over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from api.settings import load_settings


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("serve")(serve)


def serve(
    ctx: typer.Context,
    workers: Annotated[int | None, typer.Option(help="Number of processes that answer.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="File of a certificate and its chain: speak HTTPS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="File of its key.")] = None,
) -> None:
    """Answer over HTTP; /openapi/ describes the API.

    \b
    nichegraph serve
    nichegraph serve --workers 4 --port 9000
    nichegraph serve --tls-cert fullchain.pem --tls-key privkey.pem
    curl http://127.0.0.1:8000/v1/users/alice/recommendations
    """
    from api.server import serve as run_server

    options = {"workers": workers, "host": host, "port": port}
    run_server(load_settings(ctx.obj, tls_cert=tls_cert, tls_key=tls_key, **options))
