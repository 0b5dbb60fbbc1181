"""Write the distribution of a new plugin from templates: `echobench new`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Template

from echobench.errors import UsageError
from echobench.plugin.catalog import why_no_name
from echobench.plugin.manager import Plugins

FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "src/{package}/task.py": "task.py",
    "tests/test_{package}.py": "test_task.py",
}
"""The template of each file."""
RESERVED_CLASSES = ("EchoTask", "False", "None", "Recipe", "True")
"""Names that the task's class cannot have in its file."""


def new_task(name: str, directory: Path | None, plugins: Plugins) -> list[Path]:
    """Write a distribution that holds a task, and return its files.

    Args:
        name: the task's name: lower-case letters, digits and hyphens.
        directory: a new or empty directory; None for `echobench-NAME` in the current one.
        plugins: the installed plugins, whose tasks have other names.

    Raises:
        UsageError: the name is not allowed or taken, or the directory is not empty or cannot
            be written.
    """
    if (refused := why_no_name(name)) is not None:
        raise UsageError(f"new task: {refused}")
    if name in plugins.tasks:
        raise UsageError(
            f"new task: there is a task {name!r} already, of "
            f"{plugins.tasks[name].distribution}; choose another name"
        )
    distribution = f"echobench-{name}"
    folder = Path(distribution) if directory is None else directory
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"new task: expected a directory that is new or empty; {str(folder)!r} is not"
        )
    package = distribution.replace("-", "_")
    class_name = "".join(part.capitalize() for part in name.split("-"))
    words = {
        "name": name,
        "distribution": distribution,
        "package": package,
        "class_name": f"{class_name}Echo" if class_name in RESERVED_CLASSES else class_name,
    }
    templates = files("echobench.plugin") / "templates" / "task"
    texts = {
        path.format(package=package): Template(
            (templates / f"{template}.template").read_text(encoding="utf-8")
        ).substitute(words)
        for path, template in FILES.items()
    }
    texts[f"src/{package}/__init__.py"] = f'"""The task {name} for echobench."""\n'
    written = [folder / path for path in sorted(texts)]
    try:
        for path in written:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path.relative_to(folder).as_posix()], encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"new task: expected a directory that can be written; {error.strerror} "
            f"({str(folder)!r})"
        ) from error
    return written
