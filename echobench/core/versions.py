"""The versions of installed modules, without importing them."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

STATED = re.compile(r"""^__version__\s*(?::[^=\n]*)?=\s*["']([^"'\n]+)["']""", re.MULTILINE)
PYTHON_FILE = re.compile(r"^([^,\n]*\.py)(?=,|$)", re.MULTILINE)
"""In a distribution's list of files: path, digest and size of one a line."""
STATED_IN = ("__init__.py", "version.py", "_version.py")
"""Files of a package that may state its version."""
DIGITS = 12


def module_version(module: str) -> str:
    """Return the version of an installed module, by the distributions that provide it.

    `tensorflow` may come from `tensorflow`, `tensorflow-cpu` or `tf-nightly`: a distribution of
    another name is named after the version, since it is another build. Of a module without a
    distribution, the version that its source states; else a digest of its file, so that two
    unknown versions are not taken for one.

    Args:
        module: a top-level module that can be found.
    """
    if installed := _installed(module):
        return installed
    specification = importlib.util.find_spec(module)
    if specification is None or specification.origin is None:
        return "unknown"
    origin = Path(specification.origin)
    for file in (origin, *(origin.with_name(name) for name in STATED_IN)):
        stated = STATED.search(file.read_text("utf-8", "replace")) if _is_source(file) else None
        if stated:
            return stated[1]
    digest = hashlib.sha256(origin.read_bytes()).hexdigest() if origin.is_file() else ""
    return f"unknown {digest[:DIGITS]}".strip()


@functools.cache
def _installed(module: str) -> str:
    """Return the version of a module by its distributions; empty without any."""
    provided = [found.metadata["Name"] for found in _distributions().get(module, ())]
    names = sorted({*filter(None, provided)})
    return ", ".join(_of_distribution(name, module) for name in names)


def _of_distribution(name: str, module: str) -> str:
    version = importlib.metadata.version(name)
    return version if _normal(name) == _normal(module) else f"{version} ({name})"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_source(file: Path) -> bool:
    return file.suffix == ".py" and file.is_file()


@functools.cache
def _distributions() -> Mapping[str, list[importlib.metadata.Distribution]]:
    """Return the distributions of each top-level module, as `packages_distributions` does.

    That takes a quarter of a second, most of it for paths and names that nobody asks for.
    """
    found: defaultdict[str, list[importlib.metadata.Distribution]] = defaultdict(list)
    for distribution in importlib.metadata.distributions():
        for module in _top_level(distribution):
            found[module].append(distribution)
    return found


def _top_level(distribution: importlib.metadata.Distribution) -> set[str]:
    declared = (distribution.read_text("top_level.txt") or "").split()
    if declared:
        return {*declared}
    paths = PYTHON_FILE.findall(distribution.read_text("RECORD") or "")
    return {path.partition("/")[0].removesuffix(".py") for path in paths}
