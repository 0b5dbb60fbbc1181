"""Write the distribution of a new plugin from templates: `echobench new`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from echobench.errors import UsageError
from echobench.plugin.catalog import why_no_name
from echobench.plugin.manager import Plugins

FILES = {
    "pyproject.toml": "common/pyproject.toml",
    "README.md": "common/README.md",
    "src/{package}/__init__.py": "common/__init__.py",
    "src/{package}/{kind}.py": "{kind}/plugin.py",
    "tests/test_{package}.py": "{kind}/test.py",
}
"""The template of each file."""
TAKEN = ("False", "None", "True")
"""Names that no class can have."""


@dataclass(frozen=True)
class Kind:
    """A kind of plugin that `echobench new` writes.

    Attributes:
        name: what the command calls it.
        catalog: the attribute of `Plugins` in which its name must be free.
        try_it: commands that check or use it, for its README.
    """

    name: str
    catalog: str
    try_it: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "task",
            "tasks",
            "echobench check task {name}\nechobench run --backend jax --task {name}",
        ),
        Kind(
            "backend",
            "backends",
            "echobench check backend {name}\nechobench run --backend {name} --task whole",
        ),
        Kind(
            "peer",
            "backends",
            "echobench check backend {name}\nechobench run --backend {name} --task whole",
        ),
        Kind(
            "executor",
            "executors",
            "echobench run --backend jax --task whole --executor {name}",
        ),
        Kind(
            "observer",
            "observers",
            "echobench run --backend jax --task whole --observe {name}",
        ),
    )
}


def new_plugin(kind: Kind, name: str, directory: Path | None, plugins: Plugins) -> list[Path]:
    """Write a distribution that holds a plugin, and return its files.

    Args:
        kind: one of `KINDS`.
        name: the plugin's name: lower-case letters, digits and single hyphens.
        directory: a new or empty directory; None for `echobench-NAME` in the current one.
        plugins: the installed plugins, which have other names.

    Raises:
        UsageError: the name is not allowed or taken, or the directory is not empty or cannot
            be written.
    """
    command = f"new {kind.name}"
    if (refused := why_no_name(name)) is not None:
        raise UsageError(f"{command}: {refused}")
    catalog = getattr(plugins, kind.catalog)
    if name in catalog:
        noun = kind.catalog.removesuffix("s")
        raise UsageError(
            f"{command}: expected a name that is not taken; {catalog[name].distribution} has the "
            f"{noun} {name!r} already"
        )
    folder = Path(f"echobench-{name}") if directory is None else directory
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{command}: expected a directory that is new or empty; {str(folder)!r} is not"
        )
    texts = rendered(kind, name)
    written = [folder / path for path in sorted(texts)]
    try:
        for path in written:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path.relative_to(folder).as_posix()], encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{command}: expected a directory that can be written; {error.strerror} "
            f"({str(folder)!r})"
        ) from error
    return written


def rendered(kind: Kind, name: str) -> dict[str, str]:
    """Return the text of each file of a plugin's distribution, by its path."""
    distribution = f"echobench-{name}"
    words = {
        "kind": kind.name,
        "name": name,
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "try_it": kind.try_it.format(name=name),
    }
    templates = {
        path.format_map(words): (
            files("echobench.plugin") / "templates" / f"{template.format_map(words)}.template"
        ).read_text(encoding="utf-8")
        for path, template in FILES.items()
    }
    class_name = "".join(part.capitalize() for part in name.split("-"))
    plugin = templates["src/{package}/{kind}.py".format_map(words)]
    if class_name in TAKEN or re.search(rf"\b{class_name}\b", plugin):
        class_name += kind.name.capitalize()  # the file has the name already
    words["class_name"] = class_name
    return {path: Template(text).substitute(words) for path, text in templates.items()}
