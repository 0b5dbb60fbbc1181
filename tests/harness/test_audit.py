"""Trials that are trained again: what comes out as recorded, and what does not."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from echobench.errors import UsageError
from echobench.harness.audit import audit, chosen, compared
from echobench.plugin.manager import Plugins
from echobench.store.reading import Complaints, decoded, read_lines
from echobench.trial.record import EvaluationPoint, Record
from tests.records import RESULTS, record


@pytest.fixture(scope="module")
def committed() -> list[Record]:
    """Return the committed records that count."""
    files = sorted(RESULTS.rglob("records-*.jsonl"))
    with Complaints() as complaints:
        found = [r for file in files for r in read_lines(file, decoded, complaints)]
    return [record for record in found if record.counts and not record.trial.quick]


def changed(record: Record, **trial: Any) -> Record:
    return msgspec.structs.replace(record, trial=msgspec.structs.replace(record.trial, **trial))


def test_what_was_trained_otherwise_or_cannot_be_trained_is_told_from_what_comes_again(
    committed: list[Record], plugins: Plugins, tmp_path: Path
) -> None:
    task = plugins.tasks["whole"].value()
    new = next(
        r
        for r in committed
        if (r.task, r.division, r.backend) == ("whole", "open", "tensorflow") and r.fingerprint
    )
    # As of an older version: its first evaluation stands for its fingerprint.
    old = msgspec.structs.replace(new, fingerprint=None)
    honest = changed(old, source=task.source_hash())
    records = [
        honest,
        changed(honest, seed=old.seed + 1),  # the same figures under another seed
        changed(honest, seed=old.seed + 1, source="another file"),
        changed(honest, task="gone"),
        msgspec.structs.replace(honest, beyond={"trial": {"newer": 1}}),
        msgspec.structs.replace(honest, evaluations=honest.evaluations[1:]),
    ]
    said: list[str] = []
    by_record = {
        id(found.record): found for found in audit(records, plugins, tmp_path, said.append)
    }
    found = [by_record[id(one)] for one in records]
    assert [one.verdict for one in found] == [
        "reproduced",
        "not reproduced",
        *["not audited"] * 4,
    ]
    assert f"loss {old.evaluations[0].loss:.6g} in epoch 10, where jax fit has" in found[1].about
    assert found[2].about.startswith("the source of its task has changed since")
    assert "unknown task 'gone'" in found[3].about
    assert "a newer echobench" in found[4].about
    assert "train it to its end with --whole" in found[5].about
    assert len(said) == 1  # one process takes all of a cell


def test_rounding_never_makes_two_backends_differ(committed: list[Record]) -> None:
    groups: dict[Any, dict[Any, Record]] = defaultdict(dict)
    for one in committed:
        trial = one.trial
        seed = (trial.label, trial.seed, trial.screen, msgspec.json.encode(trial.recipe))
        groups[seed].setdefault((one.backend, one.engine, trial.threads, trial.max_epochs), one)
    pairs = [
        (one, other)
        for group in groups.values()
        for one in group.values()
        for other in group.values()
        if one is not other
    ]
    assert len(pairs) > 1_000
    assert [compared(*pair) for pair in pairs if compared(*pair)] == []


def trained(accuracies: list[float], updates: int | None = None, **fields: Any) -> Record:
    points = [
        EvaluationPoint(epoch=10 * (n + 1), train_s=0.0, loss=1.0, accuracy=a, exact_match=0.0)
        for n, a in enumerate(accuracies)
    ]
    status = "missed" if updates is None else "reached"
    values = {"status": status, "updates_to_target": updates, "updates": updates or 100, **fields}
    return record(0, evaluations=points, **values)


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        (trained([0.1, 0.5, 1.0], 90), trained([0.1, 0.52, 1.0], 90), None),
        (trained([0.1, 1.0], 60), trained([0.1, 0.2, 0.9, 1.0], 120), "accuracy 1 in epoch 20"),
        # A single evaluation among ten may fall into a spike of the loss.
        (trained([0.1] * 9 + [0.5] + [1.0] * 4, 90), trained([0.1] * 10 + [1.0] * 4, 90), None),
        (trained([0.1], 100), trained([0.1], 199), None),
        (trained([0.1], 100), trained([0.1], 201), "reached after 100 updates; jax fused: reached"),
        (trained([0.1], 201), trained([0.1], 100), "reached after 201 updates"),
        (trained([0.1], 40), trained([0.1], updates=None), "missed after 100 updates"),
        (trained([0.1], 60), trained([0.1], updates=None), None),
        (trained([0.1], updates=None), trained([0.1], 40), "missed after 100 updates"),
        # It stopped too soon to say.
        (trained([0.1], updates=None), trained([0.1], 400), None),
        (trained([0.1]), trained([0.1]), None),
    ],
)
def test_what_rounding_explains(ours: Record, theirs: Record, difference: str | None) -> None:
    found = compared(ours, theirs)
    assert (found is None) if difference is None else difference in (found or "")


def test_a_sample_is_drawn_from_what_trained(committed: list[Record]) -> None:
    failed = msgspec.structs.replace(committed[0], status="failed")
    drawn = chosen([failed, *committed[:30]], sample=8)
    assert len({id(one) for one in drawn}) == 8
    assert all(one.status != "failed" for one in drawn)
    assert {id(one) for one in chosen(committed[:30], sample=40)} == {
        id(one) for one in committed[:30]
    }
    assert chosen(committed, keys=[committed[7].key])[0] is committed[7]
    with pytest.raises(UsageError, match="--key: no record"):
        chosen(committed, keys=["0" * 16])
    with pytest.raises(UsageError, match="no record of a trial that trained"):
        chosen([failed])
