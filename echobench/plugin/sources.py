"""What a plugin is made of: its module, and all that this imports from beside it.

Imports are read, not run: those inside functions count, which import a framework only in a
worker. A module that is imported by a name made at run time, and a file of data, are not seen.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from echobench.errors import PluginError
from echobench.plugin.failures import described
from echobench.plugin.files import has_module, installed

INSTALLED = ("site-packages", "dist-packages")
"""Folders in which distributions lie beside each other that have nothing to do with each other."""


@dataclass(frozen=True)
class Sources:
    """The source files of a plugin.

    Attributes:
        module: its file; None where it has none, as one that is built in.
        package: folder of the top-level package of an installed plugin's module, by its name.
    """

    module: Path | None
    package: tuple[str, Path] | None = None

    @classmethod
    def of_module(cls, name: str) -> Sources:
        """Return the sources of an imported module.

        Raises:
            PluginError: the module says that its file is something else than a path.
        """
        top = name.partition(".")[0]
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None:
            return cls(None)
        if not isinstance(file, str):
            raise PluginError(f"expected __file__ to be a path; received {described(file)}")
        path = Path(file).resolve()
        folders = map(Path.resolve, map(Path, getattr(sys.modules[top], "__path__", ())))
        package = next(((top, folder) for folder in folders if folder in path.parents), None)
        return cls(path, package)

    @functools.cached_property
    def files(self) -> dict[str, bytes]:
        """Return the text of each file by its path below the plugin's folder or package.

        Raises:
            OSError: a file cannot be read.
        """
        if self.module is None or self.module.suffix != ".py":
            return {}
        found: dict[str, bytes] = {}
        pending = [self.module, *self._packages_of(self.module)]
        while pending:
            file = pending.pop()
            name = file.relative_to(self._root).as_posix()
            if name not in found:
                # On a node a file may have other line ends.
                found[name] = file.read_bytes().replace(b"\r\n", b"\n")
                pending += self._imported(file, found[name])
        return dict(sorted(found.items()))

    @functools.cached_property
    def digest(self) -> str:
        """Return a digest of the files, the same wherever they lie; empty without any."""
        if not self.files:
            return ""
        digest = hashlib.sha256()
        for name, text in self.files.items():
            digest.update(f"{name}\0{len(text)}\0".encode("utf-8", "surrogateescape") + text)
        return digest.hexdigest()[:12]

    @property
    def _folder(self) -> Path:
        assert self.module is not None
        return self.module.parent

    @functools.cached_property
    def _root(self) -> Path:
        """The folder below which all files lie."""
        return self._folder if self.package is None else self.package[1]

    def _imported(self, file: Path, text: bytes) -> Iterator[Path]:
        """Yield the files beside that a file imports."""
        for node in _imports(text):
            match node:
                case ast.Import(names=names):
                    for alias in names:
                        yield from self._absolute(alias.name)
                case ast.ImportFrom(module=module, names=names, level=0):
                    for alias in names:
                        yield from self._absolute(f"{module}.{alias.name}")
                case ast.ImportFrom(module=module, names=names, level=level):
                    folder = next(iter(file.parents[level - 1 : level]), file)
                    if folder == self._root or self._root in folder.parents:
                        for alias in names:
                            path = f"{module}.{alias.name}" if module else alias.name
                            yield from self._below(folder, path.split("."))

    def _absolute(self, name: str) -> Iterator[Path]:
        top, *parts = name.split(".")
        if self.package is not None and top == self.package[0]:
            yield from self._below(self.package[1], parts)
        elif self.package is None and self._is_beside(top):
            yield from self._below(self._folder, [top, *parts])
        elif self.package is None:
            yield from self._of_own_package(top, parts)

    def _of_own_package(self, top: str, parts: list[str]) -> Iterator[Path]:
        """Yield the files in the plugin's folder that are meant by the name of its package.

        A plugin file may lie in a package that is found elsewhere, on `PYTHONPATH` say.
        """
        if top not in [folder.name for folder in (self._folder, *self._folder.parents)]:
            return
        found = installed(top)
        for place in (found and found.submodule_search_locations) or ():
            folder = Path(place).resolve()
            if folder == self._folder or folder in self._folder.parents:
                for file in (folder / "__init__.py", *self._below(folder, parts)):
                    if self._folder in file.parents and file.is_file():
                        yield file

    def _is_beside(self, name: str) -> bool:
        """Return whether a top-level module is one of the plugin's folder."""
        if self._folder.name in INSTALLED or not has_module(self._folder, name):
            return False
        found = installed(name)
        if found is None:
            return True
        places = [*(found.submodule_search_locations or ()), *filter(None, [found.origin])]
        # The folder may be installed itself, as a checkout is; that of echobench is no plugin's.
        return name != "echobench" and any(
            Path(place).resolve().parent == self._folder for place in places
        )

    def _below(self, folder: Path, parts: list[str]) -> Iterator[Path]:
        """Yield the files of a module, of its packages, and of what is imported from it."""
        yield from self._packages_of(folder / "__init__.py")
        for part in parts:
            package = folder / part / "__init__.py"
            if part == "*":
                # `__all__` may name any of a package's modules, which are imported then.
                if (folder / "__init__.py").is_file():
                    yield from (*sorted(folder.glob("*.py")), *sorted(folder.glob("*/__init__.py")))
                return
            if package.is_file():  # as Python, which takes it before a module of that name
                yield package
            elif (folder / f"{part}.py").is_file():
                yield folder / f"{part}.py"
                return
            folder /= part
            if not folder.is_dir():
                return  # a name in the module

    def _packages_of(self, file: Path) -> Iterator[Path]:
        """Yield the `__init__.py` of each package in which a file lies."""
        if self.package is None:
            return
        for folder in file.parents:
            if (folder / "__init__.py").is_file():
                yield folder / "__init__.py"
            if folder == self.package[1]:
                return


@functools.cache
def _imports(text: bytes) -> list[ast.Import | ast.ImportFrom]:
    """Return the imports of a file's text; several plugins may share a file."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # whoever imports it will say so
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
