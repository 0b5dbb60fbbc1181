"""Figures of recorded trials, drawn with matplotlib (an extra).

`lines.py` draws curves, `bars.py` a row per cell, `sizes.py` the cost of an update by size.
Here is what they share: panels of cells, colour-blind safe line styles, reproducible files.
Each `write_...` takes the file and the records of each line, by panel, and raises UsageError
if there is nothing to draw or the file cannot be written.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from echobench.analysis.scaling import line_names
from echobench.errors import UsageError
from echobench.present import writing
from echobench.text import plain
from echobench.trial.cell import Cell
from echobench.trial.record import Record, cells_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMS = ("svg", "png", "pdf")
# Okabe and Ito (2008), distinguishable for colour-blind readers; not its yellow, pale on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
GRID = "#DDDDDD"
STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "text.parse_math": False,  # a $ in a name is no formula
    "svg.fonttype": "none",  # text stays text: searchable, readable aloud, small
    "svg.hashsalt": "echobench",  # the same figure gives the same bytes
}
LONGEST = 60
"""Characters of a panel's or line's name, at most."""

Value = TypeVar("Value")
Panels: TypeAlias = Mapping[str, Mapping[str, Value]]
"""Values by panel (task and division) and by line (cell)."""
RecordPanels: TypeAlias = Panels[Sequence[Record]]


def panels_of(records: Sequence[Record]) -> dict[str, dict[str, list[Record]]]:
    """Return records by task and division, and in each by cell, every cell with a unique name.

    Those that failed the parity gate are left out.
    """
    kept = [record for record in records if record.contradiction is None]
    by_name: dict[str, dict[str, dict[tuple[Cell, str], list[Record]]]] = defaultdict(dict)
    for record, shared, name in zip(kept, cells_of(kept), line_names(kept), strict=True):
        cell = (shared, record.machine_class)
        lines = by_name[_shortened(f"{record.task} ({record.division})")]
        lines.setdefault(_shortened(name), {}).setdefault(cell, []).append(record)
    return {
        panel: {
            name if len(cells) == 1 else f"{name} ({number})": cell
            for name, cells in sorted(lines.items())
            for number, cell in enumerate(cells.values(), start=1)
        }
        for panel, lines in sorted(by_name.items())
    }


def by_line(
    panels: RecordPanels, measure: Callable[[Sequence[Record]], Value]
) -> dict[str, dict[str, Value]]:
    """Return a value of each line's records, by panel and line."""
    return {
        panel: {name: measure(records) for name, records in lines.items()}
        for panel, lines in panels.items()
    }


def require(values: Iterable[object], quantity: str) -> None:
    """Raise UsageError if all values are empty."""
    if not any(values):
        raise UsageError(f"plot: expected records with {quantity}; found none")


def names_in(panels: Panels[Any]) -> list[str]:
    """Return the names of all panels' lines, sorted."""
    return sorted({name for lines in panels.values() for name in lines})


def description(
    panels: Panels[Value], describe: Callable[[Mapping[str, Value]], Sequence[str]], quantity: str
) -> str:
    """Describe a figure in words, for those who do not see it: `panel, quantity: line; line`.

    Panels for which `describe` returns no lines are left out.
    """
    texts = {panel: "; ".join(describe(lines)) for panel, lines in panels.items()}
    return ". ".join(f"{panel}{quantity}: {text}" for panel, text in texts.items() if text)


def form_of(path: Path) -> str:
    """Return the form of a figure's file, one of `FORMS`; refuse another ending."""
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise UsageError(
            f"--output: expected a file that ends in .{', .'.join(FORMS[:-1])} or .{FORMS[-1]}; "
            f"received {str(path)!r}"
        )
    return form


@contextmanager
def figure(path: Path, title: str, words: str, size: tuple[float, float]) -> Iterator[Figure]:
    """Yield an empty figure, `size` inches wide and high, and write it to a file afterwards.

    Title and words (the `description`) are stored in the file, and not drawn.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):
        drawing = Figure(layout="constrained", figsize=size)
        yield drawing
        _save(drawing, path, plain(title), plain(words))


class LineStyles:
    """Colours by the first word of a name, which is its backend; dashes by the rest."""

    def __init__(self, names: Iterable[str]) -> None:
        split = [name.partition(" ") for name in names]
        self._firsts = sorted({first for first, _, _ in split})
        self._rests = sorted({rest for _, _, rest in split})

    def __call__(self, name: str) -> dict[str, Any]:
        """Return matplotlib's arguments for a line."""
        first, _, rest = name.partition(" ")
        colour, dash = self._firsts.index(first), self._rests.index(rest)
        return {
            "color": COLOURS[colour % len(COLOURS)],
            "linestyle": DASHES[(dash + colour // len(COLOURS)) % len(DASHES)],
        }


def tidy(panel: Axes, axis: str = "both") -> None:
    """Give a panel a pale grid behind its lines, and no frame above and at the right."""
    panel.grid(True, which="major", axis=axis, color=GRID, linewidth=0.6)  # type: ignore[arg-type] # one of three words
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def label(panel: Axes, text: str, at: tuple[float, float], gap: tuple[float, float]) -> None:
    """Write a number beside a point; `gap` is in points."""
    vertical = "baseline" if gap[1] else "center"
    panel.annotate(text, at, xytext=gap, textcoords="offset points", va=vertical, fontsize=7.5)


def plain_numbers(axis: Any, form: str = "{:,g}") -> None:
    """Write a logarithmic axis' ticks as numbers, not as powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: form.format(value)))
    low, high = axis.get_view_interval()
    if high < 8 * low:  # less than a power of ten: ticks as on a linear axis
        axis.set_major_locator(MaxNLocator(4))
    elif high < 50 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_formatter(NullFormatter())


def legend(drawing: Figure, handles: Mapping[str, Any]) -> None:
    """Write one legend of all panels above them; `handles` are matplotlib's artists by name."""
    longest = max(map(len, handles), default=1)
    columns = max(1, int(drawing.get_figwidth() / (0.55 + 0.075 * longest)))
    drawing.legend(
        [*handles.values()], [*handles], loc="outside upper left", ncols=columns, frameon=False
    )


def _shortened(name: str) -> str:
    """Return a name that leaves room for the drawing."""
    name = plain(name)
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}…"


def _save(drawing: Figure, path: Path, title: str, words: str) -> None:
    form = form_of(path)
    # No dates: the same figure gives the same bytes.
    metadata: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Title": title},
        "pdf": {"CreationDate": None, "Title": title, "Subject": words},
        "png": {"Title": title, "Description": words},
    }
    file = io.BytesIO()
    drawing.savefig(file, format=form, dpi=160, metadata=metadata[form])
    content = file.getvalue()
    if form == "svg":
        content = _described(content, words)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _described(svg: bytes, words: str) -> bytes:
    """Put the description behind the title; screen readers read both for the picture."""
    text = svg.decode().replace("<svg ", '<svg role="img" ', 1)
    return text.replace("</title>", f"</title>\n <desc>{escape(words)}</desc>", 1).encode()
