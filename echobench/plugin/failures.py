"""Say what a plugin raised or returned, without trusting it: its `__str__` may raise as well."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from echobench import interrupts
from echobench.plugin.files import PACKAGE


def one_line(error: BaseException) -> str:
    """Return an exception in one line; SystemExit with the code that it would have given."""
    try:
        if isinstance(error, SystemExit):
            return f"it ended the process with sys.exit({error.code!r})"
        return ": ".join(filter(None, [type(error).__name__, " ".join(message_of(error).split())]))
    except BaseException as second:
        interrupts.pass_on(second)
        return "it raised an exception that cannot be printed"


def message_of(error: BaseException) -> str:
    """Return an exception's message, whatever its `__str__` does."""
    try:
        return str(error)
    except BaseException as second:
        interrupts.pass_on(second)
        return "its message cannot be printed, since its __str__ raises an exception itself"


def described(value: object) -> str:
    """Return what a plugin returned, in words, whatever its `__repr__` does."""
    try:
        if isinstance(value, type):
            return f"the class {value.__name__}"
        if type(value).__repr__ is object.__repr__:
            return f"a {type(value).__name__} object"  # and not its address
        return repr(value)
    except BaseException as error:
        interrupts.pass_on(error)
        return f"a value whose __repr__ raises an exception: {one_line(error)}"


def located(error: BaseException, module: str) -> str:
    """Return an exception in one line, after the place in the plugin's own code that raised it.

    Args:
        error: what the plugin raised.
        module: the plugin's module.
    """
    top = module.partition(".")[0]
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = module_of(frame)
        if top and name.partition(".")[0] == top:
            place = f"{_below(frame.f_code.co_filename, name)}, line {line}: "
    return f"{place}{one_line(error)}"


def module_of(frame: FrameType) -> str:
    """Return the name of the module whose code a frame runs."""
    return str(frame.f_globals.get("__name__", ""))


def _below(file: str, module: str) -> str:
    """Return a module's file as seen from the folder of its top-level package, or of its plugin."""
    path = Path(file)
    depth = module.count(".") + (not module.startswith(PACKAGE)) + (path.name == "__init__.py")
    return "/".join(path.parts[-depth:])


@contextmanager
def kept_streams() -> Iterator[None]:
    """Put back the standard streams that plugin code replaces."""
    kept = sys.stdin, sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept
