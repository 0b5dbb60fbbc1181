"""Remove from records and logs what must stay on this machine: user, host and folder names.

A path is cut to its last part if that is a file's name. A path below `site-packages`, the
standard library or echobench itself is kept from there on, so that a traceback stays useful.
"""

from __future__ import annotations

import contextlib
import functools
import platform
import re
from pathlib import Path

from echobench.core.files import without_folders
from echobench.machine import facts
from echobench.plugin.files import FILE_PREFIX, file_of

CHECKOUT = Path(__file__).resolve().parents[2]
REMOVED = "…"
ANONYMOUS = {"", "root", "user", "localhost"}
"""Names that identify nobody."""
SYSTEM = re.compile(r"/+(usr|bin|sbin|lib\w*|etc|proc|sys|dev)(/|$)")
KEPT = re.compile(r"[\\/]((?:site-packages|dist-packages|lib[\\/]python[\d.]+)[\\/].*)$")
PART = r"[^\s\\/'\"`<>|:;,()\[\]{}=]+"
QUOTED = re.compile(r"""(?<=(['"]))(?:/|~[\w.-]*/|[A-Za-z]:[\\/])(?:(?!\1).)*(?=\1)""")
SELECTOR = re.compile(r"([^\s\[\]]+\[)(.*)(\])", re.DOTALL)
VALUE = re.compile(r"(?<![^,])(\s*[\w-]+=)(.*?)(?=,\s*[\w-]+=|$)", re.DOTALL)
WHOLE = re.compile(r"(--?[\w-]+=)?((?:/|~[\w.-]*/|\.\./|[A-Za-z]:[\\/]).*)", re.DOTALL)
BARE = re.compile(
    rf"""(?:(?<![\w.~{REMOVED}/\\-])(?<!http:)(?<!https:)|(?<=\s-[ILR])|(?<=^-[ILR]))
    (?:(?:/+{PART}/+|~[\w.-]*/|(?:\.\./)+){PART}(?:/+{PART})*/*
     |[A-Za-z]:[\\/]+{PART}(?:[\\/]+{PART})*[\\/]*)""",
    re.VERBOSE,
)


def redact(text: str) -> str:
    """Return text without absolute paths and without the names of user and host.

    Bytes of a file name that are not Unicode are escaped, since a record cannot hold them.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    for folder, name in _known_folders():
        text = re.sub(rf"(?<![\w.]){re.escape(folder)}(?![\w.-])", name, text)
    for paths in (QUOTED, BARE):
        text = paths.sub(lambda match: _shortened(match[0]), text)
    for name, placeholder in _people():
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", placeholder, text)
    return text


def redact_argument(text: str) -> str:
    """Return an argument of the command line without folders.

    A file that a task reads is given by its identity. Other values of a task's parameters that
    look like paths, and an argument that is an absolute path, keep the name of the file alone,
    whatever characters stand in their folders.
    """
    text = without_folders(text)
    if selector := SELECTOR.fullmatch(text):
        text = selector[1] + VALUE.sub(_without_folder, selector[2]) + selector[3]
        return redact(text)
    for folder, name in _known_folders():
        text = re.sub(rf"(?<![\w.]){re.escape(folder)}(?![\w.-])", name, text)
    if whole := WHOLE.fullmatch(text):
        text = (whole[1] or "") + _shortened(whole[2])
    return redact(text)


def _without_folder(match: re.Match[str]) -> str:
    folder, _, name = match[2].replace("\\", "/").rpartition("/")
    return match[1] + (f"{REMOVED}/{name}" if folder else match[2])


def redact_file(path: Path) -> None:
    """Redact a file line by line.

    If the disk is full the file stays as it is: keeping the trial's record matters more.
    """
    redacted = path.with_name(f".{path.name}.part")
    with contextlib.suppress(OSError):
        try:
            with (
                path.open(encoding="utf-8", errors="replace") as source,
                redacted.open("w", encoding="utf-8") as target,
            ):
                target.writelines(map(redact, source))
            redacted.replace(path)
        finally:
            redacted.unlink(missing_ok=True)


def redact_plugin(plugin: str) -> str:
    """Return a plugin's origin; of a plugin file only its name, without the folder."""
    file = file_of(plugin)
    return plugin if file is None else FILE_PREFIX + file.name


def _known_folders() -> list[tuple[str, str]]:
    """Return the folders that have a short name, the longest first."""
    # A user without an account has no home, and the current folder may be removed.
    folders = {facts.known(Path.home): "~", facts.known(Path.cwd): "here", CHECKOUT: REMOVED}
    named = [(str(path), name) for path, name in folders.items() if path and len(path.parts) > 1]
    return sorted(named, key=lambda pair: -len(pair[0]))


@functools.cache
def _people() -> list[tuple[str, str]]:
    node = platform.node()
    user = facts.user_name() or ""
    names = {node: "<host>", node.partition(".")[0]: "<host>", user: "<user>"}
    return [(name, holder) for name, holder in names.items() if name.lower() not in ANONYMOUS]


def _shortened(path: str) -> str:
    if SYSTEM.match(path):
        return path
    kept = KEPT.search(path)
    if kept:
        return f"{REMOVED}/{kept[1]}"
    last = re.split(r"[\\/]", path)[-1]
    return f"{REMOVED}/{last}" if re.fullmatch(r".*\.\w{1,6}", last) else REMOVED
