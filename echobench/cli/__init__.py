"""The command line: one file a verb; options in, exit code out, no logic.

Exit codes: 0 success (a missed target is a result), 1 a trial failed or could not be recorded, a
check found a fault, or output could not be written, 2 wrong usage, 3 a regression found by `compare
--fail-if`, 4 one that it cannot decide, 130 interrupted. A reader that stops reading (`| head`) and
a closed stream (`>&-`) change none.
"""

from __future__ import annotations

import copy
import errno
import sys
import traceback
from collections.abc import Iterable
from typing import Annotated, Any

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
from echobench.core.versions import module_version
from echobench.errors import EchobenchError, PluginError, UsageError
from echobench.plugin.failures import fault_of_plugin, message_of, module_of, one_line
from echobench.text import say

LIBRARIES = ("click", "typer")
"""They raise Exit for whoever calls them."""
_CLICK_EXCEPTION = typer.BadParameter.__mro__[2]
"""Base class of what typer shows as an error, and ends with the code that the exception holds."""


class _Verbs(typer.core.TyperGroup):
    """The verbs, each of which ends by itself and not because a plugin's code ends it."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options that stand before a verb."""
        return _without_types(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb, whose help gives no type for an option without a value."""
        command = super().get_command(ctx, cmd_name)
        for one in (command, *getattr(command, "commands", {}).values()):
            _without_types(one.get_params(ctx) if one else ())
        return command

    def invoke(self, ctx: Any) -> object:
        """Run a verb.

        Raises:
            PluginError: a plugin's code raises an exception that nothing contains, or something
                else ends the process, as sys.exit, `typer.Exit` and a KeyboardInterrupt without
                a signal do; with any of them a gate could succeed.
        """
        try:
            return super().invoke(ctx)
        except BaseException as error:
            ends = (typer.Exit, typer.Abort, _CLICK_EXCEPTION)
            if isinstance(error, Exception) and not isinstance(error, ends):
                fault = None if isinstance(error, EchobenchError) else fault_of_plugin(error)
                if fault is None:
                    raise
                raise PluginError(fault) from error
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


def _without_types(options: Iterable[Any]) -> list[Any]:
    """Return options; of those that are flags the help says no `<bool>`."""
    options = list(options)
    for option in options:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    return options


app = typer.Typer(
    cls=_Verbs,
    help="How fast, and how surely, does each deep-learning backend teach a network to echo?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    # Rich's own markup would take `NAME[key=value]` for a style, and drop it.
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"echobench {module_version('echobench')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version, and exit", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take the options that stand before a verb; without a docstring of its own in the help."""


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
        code = interrupts.EXIT_CODE
    if code == interrupts.EXIT_CODE:
        say(interrupts.message())
    for failure in output.failures():
        say(f"echobench: {failure}")
        code = code or 1
    sys.exit(code)  # type: ignore[arg-type] # any object that a SystemExit holds


def _app_of(verb: str) -> typer.Typer:
    """Return the command line with one of the verbs alone: typer takes its time to build each.

    With all of them where that is no verb.
    """
    commands = [
        command
        for command in app.registered_commands
        if verb == (command.name or getattr(command.callback, "__name__", ""))
    ]
    groups = [group for group in app.registered_groups if verb == group.name]
    if not commands and not groups:
        return app
    alone = copy.copy(app)
    alone.registered_commands, alone.registered_groups = commands, groups
    return alone


def _run() -> object:
    try:
        _app_of(next(iter(sys.argv[1:]), ""))()
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
