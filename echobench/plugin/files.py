"""Load a plugin file; its modules, and no others, may import the modules beside it.

A file's folder becomes a package of a name of its own, made of the folder's path. So two files of
one name, or two helpers of one name, are two modules. The folder is not on `sys.path`: a
`random.py` in it is nobody's `random`.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Protocol

from echobench.errors import PluginError

FILE_PREFIX = "file:"
PACKAGE = "echobench_plugin_"
"""How the names of the packages begin."""
_imported: dict[str, str] = {}
"""Digest of each plugin file when it was imported, by its module."""


def file_of(plugin: str) -> Path | None:
    """Return the file of a plugin (`Provided.plugin`); None for an entry point."""
    path = plugin.removeprefix(FILE_PREFIX)
    return None if path == plugin else Path(path)


def option_of(plugins: Iterable[str]) -> str:
    """Return the options that load these plugins, each after a space; none for installed ones."""
    files = dict.fromkeys(filter(None, map(file_of, plugins)))
    return "".join(f" --plugin {shlex.quote(str(file))}" for file in files)


class Digested(Protocol):
    """What has a digest of a plugin's source files."""

    @property
    def digest(self) -> str:
        """Return it."""


def module_name(file: Path) -> str:
    """Return the name of the module that a plugin file (resolved) becomes."""
    stem = file.stem
    if not stem.isidentifier():
        stem = re.sub(r"\W", "_", stem) + f"_{_digest(file.stem)}"
    return f"{PACKAGE}{_digest(str(file.parent))}.{stem}"


def import_file(path: Path, sources: Digested) -> ModuleType:
    """Import a plugin file, once a process whatever its path is written like, until it is edited.

    Args:
        path: the file.
        sources: all that it is made of.

    Raises:
        PluginError: there is no such file.
    """
    file = path.resolve()
    if not file.is_file() or file.suffix != ".py":
        raise PluginError("expected an existing .py file")
    package = _package(file.parent)
    name = module_name(file)
    if name in sys.modules:
        if _imported[name] == sources.digest:
            return sys.modules[name]
        for other in [one for one in sys.modules if one.startswith(f"{package.__name__}.")]:
            del sys.modules[other]
    _imported[name] = sources.digest
    loader = _Loader(name, str(file))
    specification = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert specification is not None  # it has a loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # pydantic looks annotations up there
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def has_module(folder: Path, name: str) -> bool:
    """Return whether a folder has a module of this top-level name."""
    return (folder / f"{name}.py").is_file() or any((folder / name).glob("*.py"))


def is_beside(folder: Path, name: str) -> bool:
    """Return whether the plugin files of a folder mean a module in it by a top-level name.

    The standard library and installed modules come first: a backend's file may be called
    `torch.py` and import torch. What lies loose in the current folder does not.
    """
    # A module that is None is hidden from a worker, and stays so.
    hidden = sys.modules.get(name, name) is None
    return has_module(folder, name) and not hidden and installed(name) is None


def installed(name: str) -> ModuleSpec | None:
    """Return where a top-level module comes from, other than from the current folder."""
    if name in sys.stdlib_module_names:
        return ModuleSpec(name, None)
    # Without -P the first entry is the folder of the script, or the current one.
    paths = sys.path if sys.flags.safe_path else sys.path[1:]
    for finder in sys.meta_path:
        found = finder.find_spec(name, paths if finder is PathFinder else None)
        if found is not None:
            return found
    return None


def _package(folder: Path) -> ModuleType:
    """Return the package that stands for a folder of plugin files."""
    name = PACKAGE + _digest(str(folder))
    if name not in sys.modules:
        package = ModuleType(name, f"Plugin files of {folder}.")
        package.__path__ = [str(folder)]
        package.__spec__ = ModuleSpec(name, None, is_package=True)
        sys.modules[name] = package
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)
    return sys.modules[name]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


class _Finder:
    """Finds the modules of our packages, and nothing else."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(PACKAGE) or path is None:
            return None
        found = PathFinder.find_spec(name, path, target)
        if found is not None and isinstance(found.loader, SourceFileLoader):
            found.loader = _Loader(name, found.loader.path)
        return found


class _Loader(SourceFileLoader):
    """Runs a module of a plugin's folder, in which `import helper` finds the folder's helper."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file as it is now.

        Bytecode of an earlier run is that of a file of the same size and time, which may have
        been another.
        """
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module with an `__import__` of its own, which its functions keep."""
        package = sys.modules[self.name.partition(".")[0]]
        folder = Path(package.__path__[0])

        def import_(
            name: str,
            namespace: Mapping[str, Any] | None = None,
            local: Mapping[str, Any] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType:
            if level == 0 and is_beside(folder, name.partition(".")[0]):
                here = {"__package__": package.__name__, "__spec__": None}
                return builtins.__import__(name, here, None, fromlist or (), 1)
            return builtins.__import__(name, namespace, local, fromlist or (), level)

        # CPython takes `__import__` from here, whether the module or one of its functions imports.
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_}
        super().exec_module(module)
