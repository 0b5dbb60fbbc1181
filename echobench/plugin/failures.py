"""Say what a plugin raised or returned, without trusting it: its `__str__` may raise as well."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType

from echobench import interrupts
from echobench.plugin.files import PACKAGE

GROUP = "echobench"
"""The entry points of plugins."""
ADDRESS = re.compile(r"\s*For further information visit https?://\S+")
"""What pydantic ends its messages with."""
LONGEST = 150
"""Characters of a value in a message."""


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
    """Return an exception's message, whatever its `__str__` does; of pydantic's in our words."""
    try:
        if "pydantic" in sys.modules:  # for which `--help` does not wait
            from pydantic import ValidationError

            from echobench.trial.selectors import explained

            if isinstance(error, ValidationError):
                return f"{error.title}: {explained(error)}"
        return ADDRESS.sub("", str(error))
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
        text = re.sub(r" at 0x[0-9a-f]+", "", repr(value))
        return text if len(text) <= LONGEST else f"{text[:LONGEST]} [...]"
    except BaseException as error:
        interrupts.pass_on(error)
        return f"a value whose __repr__ raises an exception: {one_line(error)}"


def located(error: BaseException, module: str, value: object = None, member: str = "") -> str:
    """Return an exception in one line, after the place in the plugin's own code that raised it.

    Args:
        error: what the plugin raised.
        module: the plugin's module.
        value: what was called, whose class stands in where none of the plugin's code ran.
        member: name of its method, which stands in where it is the plugin's.
    """
    top = module.partition(".")[0]
    place = place_of(value, member)
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = module_of(frame)
        if top and name.partition(".")[0] == top:
            place = f"{_below(frame.f_code.co_filename, name)}, line {line}: "
    return f"{place}{one_line(error)}"


def fault_of_plugin(error: BaseException) -> str | None:
    """Return an exception in one line if a plugin's code raised it, or what that called; else None.

    Code of ours that a plugin called, or that was handed what it does not expect, is ours.
    """
    installed = {point.value.split(":")[0].split(".")[0] for point in entry_points(group=GROUP)}
    blamed = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        top = module_of(frame).partition(".")[0]
        if top == "echobench" or top in installed or top.startswith(PACKAGE):
            blamed = top
    if blamed in {"", "echobench"}:
        return None
    return f"plugin {located(error, blamed)}"


def place_of(value: object, member: str = "") -> str:
    """Return file and line of a function, a class, or an instance's class, before a message.

    Args:
        value: the function, class or instance.
        member: name of a method or property of it, whose place is named instead.

    Returns:
        `own.py, line 3: `; empty where the place is unknown.
    """
    try:
        kind = value if inspect.isroutine(value) or isinstance(value, type) else type(value)
        own = inspect.getattr_static(kind, member, kind) if member else kind
        for attribute in ("__func__", "fget", "func"):  # of a classmethod, of a property
            own = getattr(own, attribute, own)
        own = inspect.unwrap(own)
        code = getattr(own, "__code__", None)
        # A method that the class inherits from us has its place in the class.
        if code is not None and own.__module__.partition(".")[0] != "echobench":
            return f"{_below(code.co_filename, own.__module__)}, line {code.co_firstlineno}: "
        file, (_, line) = inspect.getsourcefile(kind), inspect.getsourcelines(kind)
        return f"{_below(file or '', kind.__module__)}, line {line}: "
    except BaseException as error:
        interrupts.pass_on(error)
        return ""


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
