"""`echobench report`: write all records as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from echobench.cli.options import PluginFiles, Results, flag, must_be_folder, needs, option
from echobench.text import say


def report(
    results: Results = Path("results"),
    output: Annotated[Path, option("FILE", "File to write", "--output", "-o")] = Path(
        "report.html"
    ),
    open_it: Annotated[bool, flag("--open", "Open the page in the browser")] = False,
    plugin: PluginFiles = None,
) -> None:
    """Write all records as one HTML page that opens offline."""
    needs("report", "report", "jinja2")
    must_be_folder(results)
    from echobench.plugin.manager import Plugins
    from echobench.present.page import write

    write(results, output, Plugins(plugin or []))
    say(f"wrote {output}")
    if open_it:
        import webbrowser

        webbrowser.open(output.resolve().as_uri())
