"""Workers that go wrong in every way we know: each becomes a record, and nothing is left of it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from echobench.harness import process, worker_output
from tests.harness.faulty import run

OOM_SCORE = Path("/proc/self/oom_score_adj")


@pytest.fixture(autouse=True)
def nothing_left(temporary: Path) -> Iterator[None]:
    """See that no process, file, thread or descriptor outlives the trial."""
    ours = psutil.Process()
    # What other tests left to this process is not of the trial, and may end at any time.
    children, threads, files = children_of(ours), threading.active_count(), ours.num_fds()
    yield
    assert not list(temporary.iterdir())
    assert children_of(ours) <= children
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            assert not one.environ().get("TMPDIR", "").startswith(str(temporary))
    assert (threading.active_count(), ours.num_fds()) == (threads, files)


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill at once what must be killed; what ends by itself has the time that it needs."""
    monkeypatch.setattr(process, "GRACE_S", 1.0)


def children_of(process: psutil.Process) -> set[psutil.Process]:
    return {*process.children(recursive=True)}


NOISE = r"b'junk\n\xff\xfe\x00\n{}\n[1]\nnull\n' + b'[' * 10**6 + b'\n' + b'9' * 10**5 + b'\n'"
DEEP = "b'{\"event\": \"result\", \"fields\": ' + b'{\"a\": ' * 400 + b'1' + b'}' * 401 + b'\\n'"
HUGE = 'b\'{"event": "progress", "phase": "train", "epoch": \' + b\'9\' * 4000 + b\'}\\n\''
MARKUP = 'b\'{"event": "progress", "phase": "[/bold]"}\\n\''


FAULTS = [
    ("raise RuntimeError('bad luck')", "RuntimeError: bad luck"),
    ("raise ValueError('x' * 10**6)", f"ValueError: {'x' * 450}"),
    ("raise KeyboardInterrupt", "the worker was ended by SIGINT"),
    ("sys.exit(4)", "the worker ended with exit code 4 and no result"),
    ("os._exit(0)", "the worker ended with exit code 0 and no result"),
    ("os.kill(os.getpid(), signal.SIGSEGV)", "the worker was ended by SIGSEGV"),
    ("os.abort()", "the worker was ended by SIGABRT"),
    ("os.kill(os.getpid(), 40)", "the worker was ended by signal 40"),
    ("bytearray(2**60)", "MemoryError"),
    ("home = Path(os.environ['TMPDIR'])\n"
     "(home / 'deep').mkdir()\n"
     "for n in range(500): (home / 'deep' / str(n)).write_bytes(bytes(20_000))\n"
     "(home / 'deep').chmod(0)\n"
     "os._exit(5)", "the worker ended with exit code 5"),
    ("gone = Path(os.environ['TMPDIR'], 'gone')\n"
     "gone.mkdir(); os.chdir(gone); gone.rmdir(); os.getcwd()", "FileNotFoundError: "),
    (f"tell({NOISE}); tell({DEEP}); tell({HUGE}); tell({MARKUP}); raise ValueError('v')",
     "ValueError: v"),
    ("for _ in range(70): tell(b'x' * 2**20)\nos._exit(6)",
     "the worker ended with exit code 6 and no result; 1 lines that it wrote were too long"),
    ("result(); result(); time.sleep(60)", "the worker reported more than one result"),
    ("tell(b'{\"event\": \"result\", \"fields\": '); os._exit(3)",
     "the worker ended with exit code 3 and no result"),
    ("told = dict(event='failure', status='failed', reason='a' + chr(10) + chr(27) + '[2J')\n"
     "tell(json.dumps(told) + chr(10)); os._exit(1)", r"a \x1b[2J"),
    ("result(accuracy=float('nan')); os._exit(0)",
     "the worker's result is no record (Expected a finite number - at `$.accuracy`)"),
    ("result(wall_s=1e9, other_s=1e9); os._exit(0)",
     "the worker's result cannot be true (wall_s: "),
    ("result(certified_sequences=3); os._exit(0)",
     "the worker's result cannot be true (certified_sequences: expected 1230; received 3"),
    ("result(task='other', backend='jax'); os._exit(0)",
     "the worker's result says what is not its to say (backend, task)"),
]  # fmt: skip # a fault and what is said of it stand together


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_a_fault_is_a_failed_record(fault: str, reason: str, tmp_path: Path) -> None:
    record = run(tmp_path, fault)
    place, _, said = (record.reason or "").partition(": ")
    if re.fullmatch(r"plugin faulty\.py, line \d+", place) is None:  # no line of it ran
        said = record.reason or ""
    assert (record.status, said[: len(reason)]) == ("failed", reason)
    assert record.accuracy is None


HANGING = {
    "python": "subprocess.Popen(['sleep', '61'], start_new_session=True)\n"
    "while True: time.sleep(0.01)",
    "gil": "import ctypes\nctypes.PyDLL(None).sleep(60)",
    "deaf": "for n in (2, 15): signal.signal(n, signal.SIG_IGN)\n"
    "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ntime.sleep(60)",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "guard": "os.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)",
    "flood": 'while True: tell(b\'{"event": "progress", "phase": "train"}\\n\' * 1000)',
    "endless": "tell(b'x' * 2**22)\ntime.sleep(60)",
}


@pytest.mark.usefixtures("short_grace")
def test_workers_that_hang_are_killed_whatever_they_do_against_it(tmp_path: Path) -> None:
    """Side by side, as an executor runs them in one process."""
    for name in HANGING:
        (tmp_path / name).mkdir()

    def outcome(name: str) -> tuple[str, str | None, bool]:
        record = run(tmp_path / name, HANGING[name], timeout_s=12.0)
        return record.status, record.reason, "about to go wrong" in record.log_tail

    with ThreadPoolExecutor(len(HANGING)) as pool:
        found = dict(zip(HANGING, pool.map(outcome, HANGING), strict=True))
    # One that was stopped had not the time that its trial says: that is no miss.
    status, reason, heard = found.pop("stopped")
    assert (status, heard) == ("failed", True)
    assert (reason or "").startswith("killed: stopped for ")
    limit = "killed: still running 1 s past its limit of 12 s"
    assert found == dict.fromkeys(found, ("timeout", limit, True))


@pytest.mark.usefixtures("short_grace")
def test_a_pipe_that_is_closed_ends_the_wait(tmp_path: Path) -> None:
    record = run(tmp_path, "os.closerange(3, 64)\ntime.sleep(60)")
    told = "killed: still running 1 s after it closed its pipe, without a result"
    assert (record.status, record.reason) == ("failed", told)


@pytest.mark.parametrize(
    ("end", "later"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the worker was ended by SIGSEGV"),
        ("os._exit(3)", "the worker ended with exit code 3"),
        ("os._exit(0)", None),
    ],
)
def test_a_result_counts_whatever_happens_after_it(
    end: str, later: str | None, tmp_path: Path
) -> None:
    record = run(tmp_path, f"result()\n{end}")
    assert (record.status, record.reason) == ("reached", None)
    assert record.provenance.after_result == later


@pytest.mark.usefixtures("short_grace")
def test_a_worker_that_lives_on_after_its_result_is_killed_and_its_result_counts(
    tmp_path: Path,
) -> None:
    record = run(tmp_path, "result()\ntime.sleep(60)")
    assert (record.status, record.reason) == ("reached", None)
    assert record.provenance.after_result == "killed: still running 1 s after its result"


def test_a_log_is_bounded_and_its_end_is_kept(tmp_path: Path) -> None:
    flood = "for _ in range(40): os.write(1, b'x' * 2**20)\n"
    record = run(tmp_path, flood + "print(chr(10) + 'y' * 600 + chr(10) + 'last')\nos._exit(7)")
    text = (tmp_path / "log").read_bytes()
    assert len(text) <= worker_output.MAX_LOG_BYTES
    assert b"bytes of output were dropped here]\n" in text
    assert record.log_tail[-2:] == ["y" * 500 + " [...]", "last"]
    assert max(map(len, record.log_tail)) < 600


def test_more_memory_than_allowed_is_a_failed_record(tmp_path: Path) -> None:
    # What a child holds counts too.
    fault = "if os.fork() == 0: os.setsid()\nheld = b'x' * (200 * 2**20)\ntime.sleep(60)"
    record = run(tmp_path, fault, memory_limit=300 * 2**20)
    assert record.status == "failed"
    reason = record.reason or ""
    assert reason.startswith("killed: used ")
    assert reason.endswith(" MiB, more than --memory-limit 300 MiB")
    assert record.provenance.memory_limit_bytes == 300 * 2**20


@pytest.mark.skipif(not OOM_SCORE.exists(), reason="only Linux has one")
def test_a_worker_is_what_the_system_ends_first(tmp_path: Path) -> None:
    ours = int(OOM_SCORE.read_text())
    record = run(tmp_path, f"raise RuntimeError(open({str(OOM_SCORE)!r}).read())")
    assert (record.reason or "").endswith(": RuntimeError: 1000")
    assert int(OOM_SCORE.read_text()) == ours


def test_keras_on_another_framework_than_was_said_is_found_out(tmp_path: Path) -> None:
    fault = "os.environ['KERAS_BACKEND'] = 'numpy'"
    record = run(tmp_path, fault, keras="jax", uses_keras=True)
    assert record.reason == "expected Keras on jax; received numpy"


def test_a_plugin_that_goes_wrong_in_the_parent_is_a_failed_record_too(tmp_path: Path) -> None:
    # It answers while trials are planned, and no more when one starts.
    calls = "[frame.name for frame in __import__('traceback').extract_stack()]"
    record = run(tmp_path, "pass", environment=f"_ = 1 / ('run_job' not in {calls})")
    assert record.status == "failed"
    assert "ZeroDivisionError: division by zero" in (record.reason or "")
