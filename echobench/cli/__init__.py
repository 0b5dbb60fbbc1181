"""The command line: one file a verb; options in, exit code out, no logic.

Exit codes: 0 success (a missed target is a result), 1 a trial failed or could not be recorded, or
output could not be written, 2 wrong usage, 3 a regression found by `compare --fail-if`, 4 one that
it cannot decide, 130 interrupted. A reader that stops reading (`| head`) and a closed stream
(`>&-`) change none.
"""

from __future__ import annotations

import errno
import sys
import traceback
from typing import Any

import typer

from echobench import interrupts, output
from echobench.cli import (
    audit,
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
from echobench.errors import EchobenchError, PluginError, UsageError
from echobench.plugin.failures import message_of, module_of, one_line
from echobench.text import say

INTERRUPTED = 130


LIBRARIES = ("click", "typer")
"""They raise Exit for whoever calls them."""
_CLICK_EXCEPTION = typer.BadParameter.__mro__[2]
"""Base class of what typer shows as an error, and ends with the code that the exception holds."""


class _Verbs(typer.core.TyperGroup):
    """The verbs, each of which ends by itself and not because a plugin's code ends it."""

    def invoke(self, ctx: Any) -> object:
        """Run a verb.

        Raises:
            PluginError: something else ends the process, as sys.exit, `typer.Exit` and a
                KeyboardInterrupt without a signal do; with any of them a gate could succeed.
        """
        try:
            return super().invoke(ctx)
        except BaseException as error:
            ends = (typer.Exit, typer.Abort, _CLICK_EXCEPTION)
            if isinstance(error, Exception) and not isinstance(error, ends):
                raise
            interrupts.pass_on(error)
            frames = [
                (frame, line)
                for frame, line in traceback.walk_tb(error.__traceback__)
                if module_of(frame).partition(".")[0] not in LIBRARIES
            ]
            frame, line = frames[-1]
            if isinstance(error, ends) and f"{module_of(frame)}.".startswith(f"{__name__}."):
                raise  # our own verb's, or typer's: --help
            ended = one_line(error).removeprefix("it ended the process with ")
            raise PluginError(
                f"{ended} in {frame.f_code.co_filename}, line {line}, ended the command; "
                "expected a plugin to raise an exception"
            ) from error


app = typer.Typer(
    cls=_Verbs,
    help="How fast, and how surely, does each deep-learning backend teach a network to echo?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    # Rich's own markup would take `NAME[key=value]` for a style, and drop it.
    rich_markup_mode="markdown",
)
# `echobench --help` and docs/commands.md list the verbs under these headings.
MEASURE = "Measure"
RESULTS = "See results"
MODELS = "Use a trained network"
RECORDS = "Check and share records"
SETUP = "Inspect and extend this installation"
app.command(rich_help_panel=MEASURE)(run.run)
app.command(rich_help_panel=MEASURE)(study.study)
app.command(rich_help_panel=MEASURE)(tune.tune)
app.command(rich_help_panel=RESULTS)(table.table)
app.command(rich_help_panel=RESULTS)(compare.compare)
app.command(rich_help_panel=RESULTS)(plot.plot)
app.command(rich_help_panel=RESULTS)(report.report)
app.command(rich_help_panel=MODELS)(predict.predict)
# A token may begin with a dash: a negative number gets the message of any other wrong token.
app.command(rich_help_panel=MODELS, context_settings={"ignore_unknown_options": True})(echo.echo)
app.command(rich_help_panel=RECORDS)(validate.validate)
app.command(rich_help_panel=RECORDS)(audit.audit)
app.command(rich_help_panel=RECORDS)(merge.merge)
app.command(rich_help_panel=RECORDS)(export.export)
app.command(rich_help_panel=RECORDS)(leaderboard.leaderboard)
app.command("list", rich_help_panel=SETUP)(listing.list_plugins)
app.command(rich_help_panel=SETUP)(doctor.doctor)
app.add_typer(check.app, name="check", rich_help_panel=SETUP)
app.add_typer(new.app, name="new", rich_help_panel=SETUP)


def main() -> None:
    """Run the command line and exit; an expected failure is one line and code 2 (usage) or 1."""
    output.prepare()
    try:
        code = _run()
        interrupts.ignore()
    except KeyboardInterrupt:
        interrupts.ignore()  # from here on a second one changes nothing
        code = INTERRUPTED
    if code == INTERRUPTED:
        say(interrupts.message())
    for failure in output.failures():
        say(f"echobench: {failure}")
        code = code or 1
    sys.exit(code)  # type: ignore[arg-type] # any object that a SystemExit holds


def _run() -> object:
    try:
        app()
    except EchobenchError as error:
        say(f"echobench: {message_of(error)}", *getattr(error, "__notes__", ()))
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        say(f"echobench: expected the name of a file; {error.strerror}: {error.filename}")
        return 2
    except SystemExit as ended:
        return ended.code
    return 0
