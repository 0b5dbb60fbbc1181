"""Records in the division that their recipes say, as a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from echobench.plugin.manager import Plugins
from echobench.store.divisions import moved, why_open

if TYPE_CHECKING:
    import pandas as pd


def sorted_out_frame(flat: pd.DataFrame, plugins: Plugins) -> tuple[pd.DataFrame, list[str]]:
    """Do as `sorted_out` with a frame, asking once for each cell."""
    flat = flat.astype({"cell": object, "division": object})
    said: dict[Any, str] = {}
    for names, group in flat.groupby(["cell", "division"], sort=False, observed=True):
        cell: Any = names[0]
        why = why_open(cell, str(names[1]), plugins)
        if why:
            said.update({row.Index: moved(row, why) for row in group.itertuples()})
            flat.loc[group.index, "division"] = "open"
            flat.loc[group.index, "cell"] = msgspec.structs.replace(cell, division="open")
    found = flat.astype({"cell": "category", "division": "category"})
    return found, [said[index] for index in flat.index if index in said]
