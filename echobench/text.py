"""Texts that strangers wrote, made fit for where they are shown: one function a place.

JSON and Parquet carry a text as it is.
"""

from __future__ import annotations

import hashlib
import re
import sys
from typing import IO, Any

COMBINING = "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
MARKS = re.compile(f"(?<={COMBINING}{{4}}){COMBINING}")
"""A combining mark after four others: no script has so many, and a flood of them covers the
lines above."""
FORMULA = re.compile(r"(^|;)(\s*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet would begin a formula: a cell's start, or behind what it may split at."""
MARKUP = re.compile(
    r"[\\`|~$@]"
    r"|\*(?=\S)|(?<=\S)\*"
    r"|\](?=[(\[])"  # what makes a link of brackets: an interval is none
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis; not the one within a name
    r"|(?<=www)\."  # addresses, which become links on their own
    r"|:(?=//)",
    re.IGNORECASE,
)
"""What Markdown in a cell of a table may take for markup."""


def plain(text: str) -> str:
    r"""Return a text as one line that a terminal only shows.

    What is not printable is spelt out: an escape becomes `\x1b`, a newline `\n`, a mark that
    turns the direction of writing `\u202e`, half a surrogate pair `\ud800`.
    """
    if text.isascii() and text.isprintable():
        return text
    text = "".join(map(_spelt, text)) if not text.isprintable() else text
    return MARKS.sub(lambda mark: _spelt_out(mark[0]), text)


def _spelt(character: str) -> str:
    return character if character.isprintable() else _spelt_out(character)


def _spelt_out(character: str) -> str:
    return character.encode("unicode_escape").decode()


def spreadsheet(text: str) -> str:
    """Return a text for a cell of CSV: one line, and no formula.

    What a spreadsheet would take for one has an apostrophe before it, as is usual.
    """
    return FORMULA.sub(r"\1\2'", plain(text))


def markdown(text: str) -> str:
    """Return a text for a cell of a Markdown table: no row or cell ends in it, nothing is live."""
    escaped = MARKUP.sub(r"\\\g<0>", plain(text).replace("&", "&amp;"))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def shown_on_page(value: Any) -> Any:
    """Return what a template puts into a page: a text as `plain` gives it, unless it is HTML.

    Jinja asks this of every value (`finalize`), and escapes it then.
    """
    return plain(value) if type(value) is str else value


def say(*lines: str, to: IO[str] | None = None) -> None:
    """Print lines, each on one line; to stderr unless told otherwise."""
    file = to or sys.stderr
    for line in lines:
        print(plain(line), file=file, flush=True)


LONGEST = 100
"""Characters that a name of a file keeps."""

RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that are devices on Windows."""


def file_name(name: str) -> str:
    """Return a name that is one for files too: `partial[n_in=8]` becomes `partial_n_in=8`.

    Whatever the name: one part of a path, on every system, that is neither hidden nor an
    option. A long one ends in its digest.
    """
    fit = re.sub(r"[^A-Za-z0-9._=-]+", "_", name).strip("_.").lstrip("-_.") or "_"
    if len(fit) > LONGEST:
        fit = f"{fit[:LONGEST]}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"
    return f"_{fit}" if RESERVED.fullmatch(fit) else fit
