"""The worked example of docs/method.md is what the record says."""

from __future__ import annotations

import re
from pathlib import Path

from echobench.store.folder import Store
from echobench.trial.cell import NOT_IN_A_CELL, Cell
from echobench.trial.trial import Trial

ROOT = Path(__file__).parent.parent


def test_each_field_of_a_cell_has_its_reason() -> None:
    text = (ROOT / "docs" / "method.md").read_text()
    (section,) = re.findall(r"## What a cell is\n(.*?)\n## ", text, re.DOTALL)
    names = re.findall(r"^\| `(\w+)` \| \w", section, re.MULTILINE)
    assert tuple(names) == Cell.__struct_fields__
    assert {*names, *NOT_IN_A_CELL} == {*Trial.model_fields, "execution", "beyond"}
    assert all(f"`{name}`" in section for name in ("seed", "repeat"))


def test_the_worked_example_is_recomputed_from_the_record() -> None:
    (section,) = re.findall(
        r"## A worked example\n(.*?)\n## ", (ROOT / "docs" / "method.md").read_text(), re.DOTALL
    )
    text = " ".join(section.split())
    (r,) = (
        r
        for r in Store.read(ROOT / "results" / "tasks")
        if (r.task, r.backend, r.seed) == ("partial", "jax", 0)
    )
    recipe = r.trial.recipe
    phases = ("import", "build", "compile", "first_update", "train", "eval", "other")
    seconds = [getattr(r, f"{phase}_s") for phase in phases]
    names = ["import", "build", "compile", "first update", "train", "eval", "other"]
    ledger = " + ".join(f"{s:.3f} ({n})" for s, n in zip(seconds, names, strict=True))
    assert r.time_to_target_s is not None
    assert r.seconds_per_update is not None
    assert r.updates_to_target is not None
    assert r.parity is not None
    product = r.updates_to_target * r.seconds_per_update
    miss, hit = r.evaluations[-2:]
    wrong = 50 * (1 - miss.exact_match)
    windows, n_out = 21, 2
    throughput = recipe.sequences / r.seconds_per_update
    assert r.failed_certifications == 1
    assert hit.exact_match == 1
    for told in (
        f"all came out right was {r.first_lucky_epoch}",
        f"At epoch {miss.epoch} the network missed {wrong:.0f} sequence in 50",
        f"at epoch {hit.epoch} none, and then none of {r.certified_sequences:,}",
        f"fewer than {1000 * (r.error_bound or 1):.0f} in 1,000",
        f"After the {recipe.epochs} epochs that this recipe names, "
        f"{r.accuracy_at_tutorial_epochs:.2%} of the tokens",
        f"between {r.last_miss_s:.3f} s and {r.time_to_target_s:.3f} s",
        f"{ledger} = {sum(seconds):.3f} s",
        f"`--clock compile` it took {r.time_to_target_s + (r.compile_s or 0):.3f} s",
        f"{r.updates_to_target} updates x {r.seconds_per_update * 1e3:.3f} ms = {product:.3f} s, "
        f"{product / r.time_to_target_s:.1%} of",
        f"{recipe.sequences} sequences an update / {r.seconds_per_update * 1e3:.3f} ms = "
        f"{throughput:,.0f} sequences/s, or {throughput * windows * n_out:,.0f} tokens/s",
        f"at most {r.parity.largest_difference:.1e}".replace("e-0", "e-"),
    ):
        assert told in text, told
    assert abs(sum(seconds) - (r.wall_s or 0)) < 0.01 * sum(seconds)
    assert throughput == r.sequences_per_s
