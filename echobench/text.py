"""Make untrusted text safe to print: one function for each kind of output.

JSON and Parquet hold any text unchanged.
"""

from __future__ import annotations

import hashlib
import re
import sys
from typing import IO, Any

COMBINING = "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
MARKS = re.compile(f"(?<={COMBINING}{{4}}){COMBINING}")
"""A combining mark after four others. No script uses so many, and a flood of them covers the
lines above."""
FORMULA = re.compile(r"(^|;)(\s*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet may see a formula: at the start of a cell, or after a separator."""
MARKUP = re.compile(
    r"[\\`|~$@]"
    r"|\*(?=\S)|(?<=\S)\*"
    r"|\](?=[(\[])"  # a link in brackets, but not an interval
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis, but not within a name
    r"|(?<=www)\."  # addresses, which become links by themselves
    r"|:(?=//)",
    re.IGNORECASE,
)
"""Characters that Markdown may read as markup in a cell of a table."""

MAX_TEXT = 500
"""Characters of a text in a record."""


def plain(text: str) -> str:
    r"""Return text as one printable line, which a terminal cannot interpret.

    Other characters are escaped: ESC becomes `\x1b`, a newline `\n`, a right-to-left mark
    `\u202e`, half a surrogate pair `\ud800`.
    """
    if text.isascii() and text.isprintable():
        return text
    text = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return MARKS.sub(lambda mark: _escaped(mark[0]), text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def percent(share: float) -> str:
    """Return a share as a percentage of four digits, and of as many as it takes to be no 100%."""
    digits = 4
    while share < 1 and float(text := f"{share * 100:.{digits}g}") == 100 and digits < 17:
        digits += 1
    return f"{text}%" if share < 1 else f"{share * 100:.4g}%"


def duration(seconds: float) -> str:
    """Return about how long something takes: `45 s`, `64 min`, `1.7 h`, `13 h`, `3 days`."""
    for unit, size, most in (("s", 1, 99.5), ("min", 60, 99.5), ("h", 3600, 47.5)):
        number = seconds / size
        if number < most:
            digits = 1 if unit == "h" and number < 9.95 else 0
            return f"{number:.{digits}f}".removesuffix(".0") + f" {unit}"
    return f"{seconds / 86400:,.0f} days"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 trial`, `1,200 trials`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def spreadsheet(text: str) -> str:
    """Return text for a cell of CSV: one line, with an apostrophe before what may be a formula."""
    return FORMULA.sub(r"\1\2'", plain(text))


def markdown(text: str) -> str:
    """Return text for a cell of a Markdown table, without markup, links or cell borders."""
    escaped = MARKUP.sub(r"\\\g<0>", plain(text).replace("&", "&amp;"))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def finalize_for_page(value: Any) -> Any:
    """Make a template's value printable, unless it is HTML; Jinja escapes it afterwards.

    Used as Jinja's `finalize`, which is called with every value.
    """
    return plain(value) if type(value) is str else value


def say(*lines: str, to: IO[str] | None = None) -> None:
    """Print each text as one printable line, by default to stderr."""
    file = to or sys.stderr
    for line in lines:
        print(plain(line), file=file, flush=True)


def shortened(text: str) -> str:
    """Cut a text to `MAX_TEXT` characters."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} [...]"


MAX_FILE_NAME = 100
"""Characters of a file's name; a longer one is cut and gets a digest."""

RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names of devices on Windows."""


def file_name(name: str) -> str:
    """Return a valid file name: `partial[n_in=8]` becomes `partial_n_in=8`.

    For any name: a single part of a path on every system, which is neither hidden nor looks
    like an option.
    """
    fit = re.sub(r"[^A-Za-z0-9._=-]+", "_", name).strip("_.").lstrip("-_.") or "_"
    if len(fit) > MAX_FILE_NAME:
        digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()
        fit = f"{fit[:MAX_FILE_NAME]}-{digest[:8]}"
    return f"_{fit}" if RESERVED.fullmatch(fit) else fit
