"""A coverage-guided fuzzer of the loader: `make fuzz`.

Files are mutated: committed records, cut into lines that libFuzzer changes byte by byte, and
values that are changed within their JSON. Of each file it checks that

- nothing is raised but what is documented;
- both ways of loading leave out the same lines, and agree about the others;
- each line that holds something is loaded or complained about, in the order of its number;
- lines of good records around it are loaded, whatever it holds.

Progress and what is found go to the standard error; a file that breaks one of these is written
to the folder of `--artifacts` by its digest.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["echobench.store", "pydantic"]):
    from echobench.analysis import frame
    from echobench.store import reading
    from echobench.store.reading import (
        Complaints,
        canonical,
        decoded,
        decoded_prediction,
        read_numbered,
    )
    from echobench.store.repair import repair

RESULTS = Path(__file__).parents[2] / "results"
TOKENS = [
    *("NaN", "-Infinity", "1e400", "-0", "1e-400", "1" + "0" * 400, "true", "null", "[]", "{}"),
    *('"\\ud800"', '"\\u0000"', '"\\u2028"', '"1.5"', "2.0", "[" * 300 + "]" * 300, '""', "01"),
    *("9223372036854775808", "-9223372036854775809", "5", '"x"', '{"x":1}', "[1]", "1e308"),
]


def main() -> None:
    """Fuzz for some seconds; exit with 1 where something was found."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--corpus", type=Path, help="Folder that inputs are kept in.")
    arguments.add_argument("--artifacts", type=Path, default=Path(tempfile.gettempdir()))
    asked = arguments.parse_args()
    memory = Path("/dev/shm")  # no disk is to be waited for
    place = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="echobench-", dir=place) as temporary:
        corpus = asked.corpus or Path(temporary, "corpus")
        corpus.mkdir(parents=True, exist_ok=True)
        for number, line in enumerate(GOOD):
            (corpus / f"seed-{number}").write_bytes(line)
        fuzzed = Path(temporary, "records-fuzzed.jsonl")
        atheris.Setup(
            [
                sys.argv[0],
                f"-max_total_time={asked.seconds}",
                f"-artifact_prefix={asked.artifacts}/",
                "-max_len=20000",
                "-timeout=20",
                "-rss_limit_mb=4096",
                "-print_final_stats=1",
                str(corpus),
            ],
            lambda data: check(data, fuzzed),
            custom_mutator=mutated,
        )
        atheris.Fuzz()


def seeds() -> list[bytes]:
    """Return short committed records, one a folder and status."""
    found: dict[Any, bytes] = {}
    for path in sorted(RESULTS.rglob("records-*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            told = json.loads(line)
            kind = (path.parent.name, told["status"])
            if kind not in found or len(line) < len(found[kind]):
                found[kind] = line
    return sorted(found.values(), key=len)[:12]


GOOD = seeds()


def mutated(data: bytes, largest: int, seed: int) -> bytes:
    """Return a file changed: by libFuzzer's bytes, or by a value within the JSON of a line."""
    draw = random.Random(seed)
    if draw.random() < 0.5:
        return bytes(atheris.Mutate(data, largest))
    lines = data.splitlines(keepends=True) or [b""]
    at = draw.randrange(len(lines))
    try:
        told = json.loads(lines[at])
    except (ValueError, RecursionError):
        told = json.loads(draw.choice(GOOD))
    inside = told
    while isinstance(inside, dict | list) and inside:
        places = list(inside) if isinstance(inside, dict) else range(len(inside))
        place = draw.choice(list(places))
        value = inside[place]
        if not isinstance(value, dict | list) or not value or draw.random() < 0.3:
            change = draw.random()
            if change < 0.15:
                del inside[place]
            elif change < 0.25 and isinstance(inside, dict):
                inside[draw.choice(["colour", "\u2028", "gpus", "recipe", "machine"])] = "@@"
            else:
                inside[place] = "@@"
            break
        inside = value
    text = json.dumps(told).replace('"@@"', draw.choice(TOKENS))
    lines[at] = text.encode() + draw.choice([b"\n", b"\r\n", b"\n\n", b"", b"\x00\n"])
    return b"".join(lines)[:largest]


def check(data: bytes, path: Path) -> None:
    """Check the loader on a file of these bytes, and between two good records.

    Raises:
        AssertionError: it does something else than it says.
    """
    loaded, left_out = load(data, path)
    lines = data.removeprefix(reading.BYTE_ORDER_MARK).split(b"\n")
    holding = [number for number, line in enumerate(lines, 1) if line.strip()]
    assert sorted([*loaded, *left_out]) == holding, "a line was dropped, or counted twice"
    between = GOOD[0] + data.removeprefix(reading.BYTE_ORDER_MARK).rstrip(b"\n") + b"\n" + GOOD[1]
    around, _ = load(between, path)
    assert around[1] == canonical(decoded(GOOD[0]))
    assert around[between.count(b"\n")] == canonical(decoded(GOOD[1]))
    if zlib.crc32(data) % 5 == 0:  # it takes longer than all the rest
        read(path, decoded_prediction)
        repaired(data, path, len(left_out))


def load(data: bytes, path: Path) -> tuple[dict[int, bytes], list[int]]:
    """Load a file in each way; return what its records say and which lines were left out."""
    path.write_bytes(data)
    found, left_out = read(path, decoded)
    for number, record in found.items():
        again = decoded(record.to_json().encode())
        assert repr(again) == repr(record), f"written differently: line {number}"
        frame._row(record)  # without pandas, which takes a hundred times as long
    return {number: canonical(record) for number, record in found.items()}, left_out


def read(path: Path, parse: Any) -> tuple[dict[int, Any], list[int]]:
    """Return what is made of a file's lines, by number, and the numbers of those left out."""
    left_out: list[int] = []
    complaints = Complaints(say=shown)

    def complain(damage: reading.Damage) -> None:
        complaints(damage)
        left_out.append(damage.number)

    found = {line.number: record for line, record in read_numbered(path, parse, complain)}
    for line in complaints.summary():
        shown(line)
    assert sum(complaints.counts.values()) == len(left_out)
    return found, left_out


def shown(line: str) -> None:
    """Check that a line can be shown."""
    assert line.isprintable(), "a terminal would obey it"
    assert len(line) < 1000, "too long to be read"


def repaired(data: bytes, path: Path, damaged: int) -> None:
    """Check that a repair loses no byte and can be done again."""
    path.write_bytes(data)
    aside = path.with_name(path.name + reading.SET_ASIDE)
    aside.unlink(missing_ok=True)
    before, _ = load(data, path)
    done = repair(path)
    if done is None:
        assert path.read_bytes() == data
        return
    assert done.lines <= damaged  # those of a newer echobench stay
    kept, set_aside = path.read_bytes(), aside.read_bytes()
    gone, at = 0, 0
    while at < len(set_aside):
        end = set_aside.index(b"\n", at) + 1
        told = json.loads(set_aside[at:end])
        assert set_aside[end : end + told["bytes"]] in data
        gone, at = gone + told["bytes"], end + told["bytes"] + 1
    assert len(kept) + gone == len(data)
    assert list(load(kept, path)[0].values()) == list(before.values())
    assert repair(path) is None


if __name__ == "__main__":
    main()
