"""Write docs/reference.md from the docstrings of the public names.

`make docs` runs this; tests/test_public.py checks that the page is up to date.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import griffe

import echobench

ROOT = Path(__file__).parent.parent
PAGE = Path(__file__).with_name("reference.md")
INTRODUCTION = """\
# Reference

All that a plugin needs, `from echobench import ...`, the hooks that it implements, and `run`. Made
from the docstrings by `make docs`; the guides are [writing-a-task.md](writing-a-task.md) and
[writing-a-backend.md](writing-a-backend.md).

`[a, b]` is the shape of an array; samples come before steps, steps before features. Names that
end in `_s` are seconds, in `_bytes` bytes.
"""
SECTIONS = {
    "Runs": ("flow",),
    "Tasks": ("core.task", "core.file_task", "core.files", "core.sequences", "core.coding"),
    "Networks": ("core.architectures",),
    "Backends": ("core.backend", "core.program", "core.outline", "core.experiment"),
    "Executors, observers and studies": ("plugin.interfaces", "trial.job", "harness.remote"),
    "Trials and records": ("trial.trial", "trial.record"),
    "Errors": ("errors",),
}
"""The modules of each section; names from other modules come last."""
OTHERS = "Further names"
KINDS = griffe.DocstringSectionKind
LONGEST = 100
"""Characters of a line of code."""


def page() -> str:
    """Return the page."""
    package = griffe.load(
        "echobench",
        search_paths=[ROOT],
        docstring_parser="google",
        docstring_options={"returns_multiple_items": False, "returns_named_value": False},
        resolve_aliases=True,
    )
    modules = [module for members in SECTIONS.values() for module in members]
    titles = {module: title for title, members in SECTIONS.items() for module in members}
    sections: dict[str, list[str]] = {title: [] for title in (*SECTIONS, "Hooks", OTHERS)}
    members = [(name, _target(package[name])) for name in echobench.__all__]
    places = {name: member.module.path.removeprefix("echobench.") for name, member in members}
    modules += sorted(set(places.values()) - set(modules))
    for name, member in sorted(
        members, key=lambda item: (modules.index(places[item[0]]), item[1].lineno)
    ):
        sections[titles.get(places[name], OTHERS)].append("\n".join(_entry(name, member)))
    for name, hook in package["plugin.hookspecs"].functions.items():
        sections["Hooks"].append("\n".join(_entry(name, hook)))
    parts = [INTRODUCTION]
    for title, entries in sections.items():
        parts += [f"## {title}\n", *entries] if entries else []
    return "\n".join(parts)


def _entry(name: str, member: griffe.Object) -> Iterator[str]:
    """Yield the lines of a public name's entry."""
    yield f"### {name}\n"
    yield f"```python\n{_signature(name, member)}\n```\n"
    yield _text(member) + "\n"
    lines = [*_sections(member)]
    if isinstance(member, griffe.Class):
        lines = [*_attributes(member), *_methods(member), *_inherited(member)]
    if lines:
        yield "\n".join(lines) + "\n"


def _signature(name: str, member: griffe.Object) -> str:
    if isinstance(member, griffe.Class):
        bases = ", ".join(str(base) for base in member.bases)
        return f"class {name}({bases})" if bases else f"class {name}"
    if isinstance(member, griffe.Function):
        return f"def {member.signature(name=name)}"
    value = f" = {member.value}"  # type: ignore[attr-defined] # an attribute
    annotation = "" if name == "hookimpl" or len(name + value) > LONGEST else value
    return f"{name}{annotation}"


def _attributes(member: griffe.Class) -> Iterator[str]:
    """Yield attributes, fields and arguments, as the class or a hidden base describes them."""
    owners = (member, *(base for base in member.mro() if base.name not in echobench.__all__))
    documented = {
        name: " ".join(item.description.split())
        for owner in owners
        if owner.docstring is not None
        for section in owner.docstring.parsed
        if section.kind in {KINDS.attributes, KINDS.parameters}
        for item in section.value
        for name in _names(item)
    }
    declared = {
        name: attribute
        for name, attribute in _public(member)
        if isinstance(attribute, griffe.Attribute) and "property" not in attribute.labels
    }
    for name, text in documented.items():
        yield f"- `{_declaration(name, declared.get(name))}`: {text}"
    further = [
        f"`{_declaration(name, attribute)}`"
        for name, attribute in declared.items()
        if name not in documented and attribute.annotation is not None
    ]
    if further:
        yield f"- {', '.join(further)}"


def _names(item: griffe.DocstringNamedElement) -> list[str]:
    """Return the names of an entry such as `inputs, targets: ...`, of which griffe reads one."""
    if not item.name.endswith(","):
        return [item.name]
    return [item.name.removesuffix(","), *str(item.annotation).split(", ")]


def _declaration(name: str, attribute: griffe.Attribute | None) -> str:
    """Return a name with its type and, of a class variable or a field, its default."""
    if attribute is None or attribute.annotation is None:
        return name
    annotation = str(attribute.annotation)
    if annotation.startswith("ClassVar["):
        annotation = annotation[len("ClassVar[") : -1]
    default = attribute.value if "class-attribute" in attribute.labels else None
    return f"{name}: {annotation}" + (f" = {default}" if default is not None else "")


def _methods(member: griffe.Class) -> Iterator[str]:
    for name, method in _public(member):
        if isinstance(method, griffe.Function):
            labels = "".join(
                f"{label} " for label in ("staticmethod", "classmethod") if label in method.labels
            )
            yield f"- {labels}`{method.signature(name=name)}`: {_paragraph(method)}"
            yield from textwrap.indent("\n".join(_sections(method)), "  ").splitlines()
        elif "property" in method.labels:
            annotation = f": {method.annotation}" if isinstance(method, griffe.Attribute) else ""
            yield f"- `{name}{annotation}`: {_paragraph(method)}"


def _inherited(member: griffe.Class) -> Iterator[str]:
    """Yield a line for each public base, with the names that it adds."""
    for base in member.mro():
        names = [name for name, _ in _own(base) if name not in member.members]
        if base.name in echobench.__all__ and names:
            listed = ", ".join(f"`{name}`" for name in names)
            yield f"- From [{base.name}](#{base.name.lower()}): {listed}."


def _public(member: griffe.Class) -> Iterator[tuple[str, griffe.Object]]:
    """Yield a class's own public members, and those of bases that are not public themselves."""
    seen = set()
    for owner in (member, *(base for base in member.mro() if base.name not in echobench.__all__)):
        for name, value in _own(owner):
            if name not in seen:
                seen.add(name)
                yield name, value


def _own(member: griffe.Class) -> Iterator[tuple[str, griffe.Object]]:
    for name, value in member.members.items():
        hidden = name.startswith("_") and name != "__call__"
        if not (hidden or name == "model_config" or value.is_alias):
            yield name, _target(value)


def _sections(member: griffe.Object) -> Iterator[str]:
    """Yield a function's arguments, results and errors."""
    for section in _parsed(member):
        for item in section.value if section.kind is not KINDS.text else []:
            text = " ".join(item.description.split())
            if section.kind is KINDS.parameters:
                yield f"- `{item.name}`: {text}"
            elif section.kind is KINDS.returns:
                yield f"- Returns: {text}"
            elif section.kind is KINDS.raises:
                yield f"- Raises `{item.annotation}`: {text}"


def _text(member: griffe.Object) -> str:
    """Return what the docstring says before its sections, its `::` blocks as Markdown's."""
    texts = [section.value for section in _parsed(member) if section.kind is KINDS.text]
    text = re.sub(r"(\w)::\n", r"\1:\n", "\n\n".join(texts)).replace("::\n", "")
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _paragraph(member: griffe.Object) -> str:
    """Return the docstring's text on one line."""
    return " ".join(_text(member).split())


def _parsed(member: griffe.Object) -> list[griffe.DocstringSection]:
    if member.docstring is None and isinstance(member.parent, griffe.Class):
        # A method that overrides a described one needs no docstring of its own.
        bases = (base.members.get(member.name) for base in member.parent.mro())
        member = next((_target(base) for base in bases if base and base.docstring), member)
    if member.docstring is None:
        raise ValueError(f"{member.path} has no docstring")
    return member.docstring.parsed


def _target(member: griffe.Object | griffe.Alias) -> griffe.Object:
    return member.final_target if isinstance(member, griffe.Alias) else member


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
