"""The command line: arguments in, exit codes out, no logic; one file a verb.

Exit codes: 0 all well (a miss is a result), 1 some trial failed or could not be
recorded, 2 usage, 3 a regression that `compare --fail-if` was asked for, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys

import typer

from echobench import interrupts
from echobench.cli import (
    check,
    compare,
    doctor,
    echo,
    export,
    leaderboard,
    listing,
    merge,
    new,
    plot,
    predict,
    report,
    run,
    study,
    table,
    tune,
    validate,
)
from echobench.errors import EchobenchError, UsageError
from echobench.text import say

INTERRUPTED = 130
app = typer.Typer(
    help="How fast, and how surely, does each deep-learning backend teach a network to echo?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.command()(run.run)
app.command()(study.study)
app.command()(tune.tune)
app.command()(predict.predict)
# What begins with a dash may be a token: a negative number is told as any other wrong one.
app.command(context_settings={"ignore_unknown_options": True})(echo.echo)
app.command()(table.table)
app.command()(compare.compare)
app.command()(plot.plot)
app.command()(report.report)
app.command()(export.export)
app.command()(validate.validate)
app.command()(merge.merge)
app.command()(leaderboard.leaderboard)
app.command()(doctor.doctor)
app.command("list")(listing.list_plugins)
app.add_typer(check.app, name="check")
app.add_typer(new.app, name="new")


def main() -> None:
    """Run the command line; an expected failure is one line: exit code 2 for the user's, else 1."""
    try:
        code = _run()
        interrupts.ignore()
    except KeyboardInterrupt:
        interrupts.ignore()  # here, where a second one changes nothing
        code = INTERRUPTED
    if code == INTERRUPTED:
        _tell(interrupts.message())
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads it any more: `| head`, or a terminal that is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or 1
    sys.exit(code)  # type: ignore[arg-type] # what another SystemExit had


def _run() -> object:
    """Run the command line; return its exit code."""
    try:
        app()
    except EchobenchError as error:
        _tell(f"echobench: {error}", *getattr(error, "__notes__", ()))
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        _tell(f"echobench: expected the name of a file; {error.strerror}: {error.filename}")
        return 2
    except SystemExit as ended:
        return ended.code
    return 0


def _tell(*lines: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be what is gone
        say(*lines)
