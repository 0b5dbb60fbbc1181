"""What a study plugin provides: a question, and the cells that answer it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Variant(BaseModel):
    """One row of a study.

    Attributes:
        label: what the row is called.
        task: a task as `--task` takes it.
        division: `closed` or `open`.
        sizes: where the row lies on axes of size, by their names with units: on the
            one along which it differs from the base, and the base on all. A study
            with them says where backends cross, and `echobench plot` draws it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    task: str
    division: str = "open"
    sizes: dict[str, int] = {}


class Study(BaseModel):
    """A question that `echobench study NAME` answers with one table.

    Attributes:
        name: what `echobench study` takes.
        question: one sentence.
        variants: the rows, in order.
        backend: what runs them, unless `--backend` says otherwise.
        seeds: of each variant, 0 to seeds-1.
        timeout: limit of a trial, as `--timeout` takes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    question: str
    variants: list[Variant] = Field(min_length=1)
    backend: str
    seeds: int = Field(default=3, ge=1)
    timeout: str = "3m"

    @property
    def axes(self) -> list[str]:
        """Return the axes of size along which the study goes."""
        return list(dict.fromkeys(axis for variant in self.variants for axis in variant.sizes))

    @property
    def base(self) -> dict[str, int]:
        """Return the sizes of the variant that lies on most axes: where the others cross."""
        return max((variant.sizes for variant in self.variants), key=len)
