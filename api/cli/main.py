"""The command line: `nichegraph COMMAND`.

Exit codes: 0 done, 1 failed, 2 bad usage, 3 refused by a gate.
"""

import errno
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from api.cli import (
    audit,
    backup,
    data,
    demo,
    doctor,
    erase,
    evaluate,
    explain,
    explore,
    export,
    inbox,
    init,
    keys,
    load,
    migrate,
    recommend,
    refresh,
    releases,
    retain,
    rules,
    segments,
    serve,
    status,
    tune,
)
from api.cli.output import plain
from api.compiled import choose_folder
from graph.errors import GateRefused, NichegraphError
from graph.extras import missing_extra

cli = typer.Typer(
    name="nichegraph",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"nichegraph {metadata.version('nichegraph')}\n")
        raise typer.Exit


@cli.callback()
def nichegraph(
    ctx: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            help="Folder of the catalogue; default: NICHEGRAPH_HOME, or else ./nichegraph-home.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Recommendations for catalogues with a long tail.

    \b
    Load, learn, ask:
      nichegraph load events.csv --column user=who --column item=what
      nichegraph refresh
      nichegraph recommend alice
      nichegraph serve
    """
    del version  # printed before
    ctx.obj = home
    if debug:
        os.environ["NICHEGRAPH_TRACEBACK"] = "1"


for part in (
    init,
    doctor,
    demo,
    load,
    refresh,
    recommend,
    explain,
    explore,
    rules,
    segments,
    status,
    inbox,
    keys,
    serve,
    releases,
    retain,
    evaluate,
    tune,
    export,
    migrate,
    erase,
    audit,
    backup,
    data,
):
    part.register(cli)


MAKE_ROOM = "; make room and run it again: `nichegraph releases prune` removes old releases"


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code; errors are one sentence."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    try:
        choose_folder()
        code = cli(arguments, standalone_mode=False)
        sys.stdout.flush()
    except GateRefused as error:
        return _fail(str(error), 3)
    except NichegraphError as error:
        _trace()
        return _fail(str(error), 1)
    except ModuleNotFoundError as error:
        _trace()
        return _fail(str(missing_extra(error) or f"{error} (run with --debug to see where)"), 1)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # whose message is the help
            sys.stderr.write(error.format_message().rstrip() + "\n")
            return 2
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        message = error.format_message().rstrip(".")
        return _fail(message + hint, error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("stopped", 130)
    except BrokenPipeError:  # whoever reads our output has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        _trace()
        where = f"{error.filename}: " if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return _fail(f"{where}{error.strerror or error}{MAKE_ROOM if full else ''}", 1)
    except Exception as error:  # noqa: BLE001 - the last resort says it in one sentence
        _trace()
        kind = type(error).__name__
        return _fail(f"unexpected {kind}: {error} (run with --debug to see where)", 1)
    return code if isinstance(code, int) else 0


def _trace() -> None:
    if os.environ.get("NICHEGRAPH_TRACEBACK"):
        import traceback

        traceback.print_exc()


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"nichegraph: {plain(' '.join(sentence.split()))}\n")
    return code


if __name__ == "__main__":
    main()
