"""Texts that strangers wrote, made fit to be shown: what a terminal would obey is spelt out."""

from __future__ import annotations


def plain(text: str) -> str:
    r"""Return a text of one line without control characters: an escape becomes `\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def markdown(text: str) -> str:
    """Return a text that ends no cell of a Markdown table and opens no HTML."""
    return plain(text).replace("|", "\\|").replace("<", "&lt;")
