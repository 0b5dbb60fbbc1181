"""What all figures share: looks that colour-blind readers tell apart, files without dates."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echobench.errors import UsageError
from echobench.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMS = ("svg", "png", "pdf")
# Okabe and Ito (2008), told apart by colour-blind readers too; not its yellow, pale on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRID = "#DDDDDD"
STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "text.parse_math": False,  # a name with a $ is a name
    "svg.fonttype": "none",  # text stays text: searched, read aloud, small
    "svg.hashsalt": "echobench",  # the same figure is the same bytes
}
LONGEST = 60
"""Characters of a name, at most."""
NEAREST = 0.06
"""Least distance of two names beside a panel, in its heights."""


def form_of(path: Path) -> str:
    """Return what a figure's file is: one of `FORMS`.

    Raises:
        UsageError: the file's name says something else.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise UsageError(
            f"--output: expected a file that ends in .{', .'.join(FORMS[:-1])} or .{FORMS[-1]}; "
            f"received {str(path)!r}"
        )
    return form


@contextmanager
def figure(path: Path, title: str, message: str, **size: Any) -> Iterator[Figure]:
    """Give a figure to draw in, and write it to a file.

    Args:
        path: the file, its ending one of `FORMS`.
        title: what it shows; stands in the file, not in the picture.
        message: what it says, in words, for those who do not see it.
        size: `figsize`, in inches.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):
        drawn = Figure(layout="constrained", **size)
        yield drawn
        _save(drawn, path, plain(title), plain(message))


def short(name: str) -> str:
    """Return a name of a panel or a line that leaves room for what is drawn."""
    name = plain(name)
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}…"


class Looks:
    """Colours by the first word of a name, which is its backend; dashes by the rest."""

    def __init__(self, names: Iterable[str]) -> None:
        split = [name.partition(" ") for name in names]
        self._firsts = sorted({first for first, _, _ in split})
        self._rests = sorted({rest for _, _, rest in split})

    def __call__(self, name: str) -> dict[str, Any]:
        """Return matplotlib's arguments for a line."""
        first, _, rest = name.partition(" ")
        at, kind = self._firsts.index(first), self._rests.index(rest)
        return {
            "color": COLOURS[at % len(COLOURS)],
            "linestyle": DASHES[(kind + at // len(COLOURS)) % len(DASHES)],
        }


def tidy(panel: Axes, axis: str = "both") -> None:
    """Give a panel a pale grid behind what is drawn, and no frame above and at the right."""
    panel.grid(True, which="major", axis=axis, color=GRID, linewidth=0.6)  # type: ignore[arg-type] # one of three words
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def plain_numbers(axis: Any, form: str = "{:,g}") -> None:
    """Write a logarithmic axis' ticks as numbers, not as powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: form.format(value)))
    low, high = axis.get_view_interval()
    if high < 8 * low:  # not one power of ten: as if it were no logarithmic axis
        axis.set_major_locator(MaxNLocator(4))
    elif high < 50 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_formatter(NullFormatter())


def legend(drawn: Figure, lines: dict[str, Any], width: float) -> None:
    """Write one legend of all panels above them.

    Args:
        drawn: the figure.
        lines: what stands for each name.
        width: of the figure, in inches.
    """
    longest = max(map(len, lines), default=1)
    columns = max(1, int(width / (0.55 + 0.075 * longest)))
    drawn.legend(
        list(lines.values()), list(lines), loc="outside upper left", ncols=columns, frameon=False
    )


def spread(heights: list[float]) -> list[float]:
    """Return ascending heights of 0 to 1, moved as keeps them `NEAREST` apart and below 1.

    Those that would touch move together, about their mean.
    """
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _placed(groups[-1])[0] - _placed(groups[-2])[-1] < NEAREST:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [height for group in groups for height in _placed(group)]


def _placed(group: list[float]) -> list[float]:
    first = sum(height - place * NEAREST for place, height in enumerate(group)) / len(group)
    first = min(first, 1.0 - (len(group) - 1) * NEAREST)
    return [first + place * NEAREST for place in range(len(group))]


def _save(drawn: Figure, path: Path, title: str, message: str) -> None:
    form = form_of(path)
    # No dates: the same figure is the same bytes.
    told: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Title": title},
        "pdf": {"CreationDate": None, "Title": title, "Subject": message},
        "png": {"Title": title, "Description": message},
    }
    file = io.BytesIO()
    drawn.savefig(file, format=form, dpi=160, metadata=told[form])
    made = file.getvalue()
    if form == "svg":
        made = _described(made, message)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made)
    except OSError as error:
        raise UsageError(
            f"--output {path}: expected a file that can be written; {error.strerror}"
        ) from error


def _described(svg: bytes, message: str) -> bytes:
    """Put the message behind the title, and have both read out for the picture."""
    text = svg.decode().replace("<svg ", '<svg role="img" ', 1)
    return text.replace("</title>", f"</title>\n <desc>{escape(message)}</desc>", 1).encode()
