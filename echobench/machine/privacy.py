"""What must not leave this machine in a record or a log: who works on it, and in which folders.

Of a path its last part stays where that is a file's name; of one below `site-packages`, the
standard library or echobench itself all from there on, so that a traceback stays useful.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import platform
import re
from pathlib import Path

from echobench.plugin.manager import FILE_PREFIX, file_of

HERE = "here"
"""What the current folder is called."""
CHECKOUT = Path(__file__).resolve().parents[2]
UNTOLD = "…"
NOBODY = {"", "root", "user", "localhost"}
"""Names that say nothing of anybody."""
SYSTEM = re.compile(r"/+(usr|bin|sbin|lib\w*|etc|proc|sys|dev)(/|$)")
KEPT = re.compile(r"[\\/]((?:site-packages|dist-packages|lib[\\/]python[\d.]+)[\\/].*)$")
PART = r"[^\s\\/'\"`<>|:;,()\[\]{}=]+"
QUOTED = re.compile(r"""(?<=(['"]))(?:/|~/|[A-Za-z]:[\\/])[^'"\n]*(?=\1)""")
BARE = re.compile(
    rf"""(?:(?<![\w.~{UNTOLD}/\\-])(?<!http:)(?<!https:)|(?<=\s-[ILR])|(?<=^-[ILR]))
    (?:(?:/+{PART}/+|~/|(?:\.\./)+){PART}(?:/+{PART})*/*
     |[A-Za-z]:[\\/]+{PART}(?:[\\/]+{PART})*[\\/]*)""",
    re.VERBOSE,
)


def without_places(text: str) -> str:
    """Return text without absolute paths, and without the names of user and host.

    What is no Unicode, as in names of files, is spelt out: no record can hold it.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    for place, instead in _known():
        text = re.sub(rf"(?<![\w.]){re.escape(place)}(?![\w.-])", instead, text)
    text = BARE.sub(_shortened, QUOTED.sub(_shortened, text))
    for name, instead in _people():
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", instead, text)
    return text


def scrub(log: Path) -> None:
    """Have a file of lines read as `without_places` gives it.

    Where the disk has no room for that, it stays as it is: a trial's record counts for more.
    """
    beside = log.with_name(f".{log.name}.part")
    with contextlib.suppress(OSError):
        try:
            with (
                log.open(encoding="utf-8", errors="replace") as file,
                beside.open("w", encoding="utf-8") as kept,
            ):
                kept.writelines(map(without_places, file))
            beside.replace(log)
        finally:
            beside.unlink(missing_ok=True)


def without_folder(plugin: str) -> str:
    """Return where a plugin comes from; of a file its name: where it lies is the user's affair."""
    file = file_of(plugin)
    return plugin if file is None else FILE_PREFIX + file.name


def _known() -> list[tuple[str, str]]:
    """Return folders that have a name of their own, the longest first."""
    places = {str(Path.home()): "~", str(Path.cwd()): HERE, str(CHECKOUT): UNTOLD}
    known = [(place, name) for place, name in places.items() if len(Path(place).parts) > 1]
    return sorted(known, key=lambda one: -len(one[0]))


@functools.cache
def _people() -> list[tuple[str, str]]:
    node = platform.node()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        user = ""
    names = {node: "<host>", node.partition(".")[0]: "<host>", user: "<user>"}
    return [(name, instead) for name, instead in names.items() if name.lower() not in NOBODY]


def _shortened(match: re.Match[str]) -> str:
    path = match[0]
    if SYSTEM.match(path):
        return path
    kept = KEPT.search(path)
    if kept:
        return f"{UNTOLD}/{kept[1]}"
    last = re.split(r"[\\/]", path)[-1]
    return f"{UNTOLD}/{last}" if re.fullmatch(r".*\.\w{1,6}", last) else UNTOLD
