"""The interface of a study plugin: a question, and the tasks that answer it."""

from __future__ import annotations

from pydantic import Field

from echobench.core.frozen import FrozenModel


class Variant(FrozenModel):
    """A row of a study.

    Attributes:
        label: the row's heading.
        task: a task, as `--task` takes it.
        division: `closed` or `open`.
        sizes: the row's position on the study's axes of size, from an axis's name, with its
            unit, to the size. A row gives the axis on which it differs from the base row; the
            base row gives all axes. With sizes, the study says at which size one backend
            overtakes another, and `echobench plot` draws it.
    """

    label: str
    task: str
    division: str = "open"
    sizes: dict[str, int] = Field(default_factory=dict)


class Study(FrozenModel):
    """A question that `echobench study NAME` answers with a table.

    Attributes:
        name: the name that `echobench study` takes.
        question: one sentence.
        variants: the rows, in order.
        backend: the backend that runs them, unless `--backend` names another.
        seeds: trials of each variant, with the seeds 0 to seeds-1.
        timeout: time limit of a trial, as `--timeout` takes it: `90s`, `3m`.
    """

    name: str
    question: str
    variants: list[Variant] = Field(min_length=1)
    backend: str
    seeds: int = Field(default=3, ge=1)
    timeout: str = "3m"

    @property
    def axes(self) -> list[str]:
        """The axes of size along which the variants lie."""
        return list(dict.fromkeys(axis for variant in self.variants for axis in variant.sizes))

    @property
    def base(self) -> dict[str, int]:
        """The sizes of the base row, which lies on all axes."""
        return max((variant.sizes for variant in self.variants), key=len)
