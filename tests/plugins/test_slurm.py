"""Trials as Slurm jobs: on a real controller where there is one, else as submitit's processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from echobench_plugins.executors import slurm as plugin

from echobench import EchobenchError, ExecutorError, Job, Site
from tests.clusters import slurm, until
from tests.privileges import may_become_another_user
from tests.soak.harness import Harness


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    missing = [name for name in ("munged", "slurmctld", "slurmd") if shutil.which(name) is None]
    if missing or not may_become_another_user():
        lacking = ", ".join(missing) or "root's right to become another user"
        why = f"no Slurm that could be started: no {lacking}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with slurm() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


def all_reached(folder: Path, selector: str) -> None:
    harness = Harness(folder, seeds=2)
    process = harness.start("--executor", selector, output=subprocess.PIPE)
    said, errors = process.communicate(timeout=180)
    assert process.returncode == 0, said + errors
    found, damaged = harness.records()
    assert damaged == []
    assert found == {trial.key: 1 for trial in harness.trials}
    (path,) = harness.results.glob("records-*.jsonl")
    for line in path.read_text().splitlines():
        told = json.loads(line)["provenance"]
        assert told["executor"]["name"] == "slurm"
        assert told["path"]["affinity"] == told["cores"]


def test_trials_are_jobs_of_a_real_controller(controller: None, tmp_path: Path) -> None:
    all_reached(tmp_path, "slurm[partition=main]")


def test_a_job_that_is_cancelled_is_submitted_again(controller: None, tmp_path: Path) -> None:
    harness = Harness(tmp_path, seeds=1, task="tiny[nap=1.0]")
    process = harness.start("--executor", "slurm[patience=0]", output=subprocess.PIPE)

    def running() -> list[str]:
        asked = ["squeue", "--noheader", "--states=RUNNING", "--format=%A"]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        return done.stdout.split()

    until(lambda: bool(running()))
    subprocess.run(["scancel", "--signal=KILL", "--full", *running()], check=True)
    said, errors = process.communicate(timeout=180)
    assert process.returncode == 0, said + errors
    (path,) = harness.results.glob("records-*.jsonl")
    (record,) = map(json.loads, path.read_text().splitlines())
    assert record["status"] == "reached"
    lost = record["provenance"]["executor"]["lost"]
    assert lost == ["its job left the queue without a result"]


def test_trials_are_jobs_of_submitit_alone(tmp_path: Path) -> None:
    all_reached(tmp_path, "slurm[cluster=local]")


FAKES = {
    # Refuses as the file `refusals` says, line by line; else it runs the script.
    "sbatch": """
echo "$1" >> {folder}/submitted
env > {folder}/environment
number=$(wc -l < {folder}/submitted)
cp "$1" {folder}/script$number  # a job has its script as it was; submitit moves its own
refusal=$(sed -n "${{number}}p" {folder}/refusals)
if [ -n "$refusal" ]; then
    printf 'sbatch: error: %s\\n' "$refusal" >&2
    exit 1
fi
echo $number >> {folder}/queue
[ -e {folder}/vanish ] || SLURM_JOB_ID=$number SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=1 \\
    SLURM_NODEID=0 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=here \\
    sh {folder}/script$number > /dev/null 2>&1 &
echo "Submitted batch job $number"
""",
    "srun": """
while true; do
    case $1 in --output|--error) shift 2 ;; -*) shift ;; *) break ;; esac
done
exec "$@"
""",
    "squeue": "env > {folder}/asked; cat {folder}/queue",
    "scancel": 'echo "$@" >> {folder}/cancelled',
}
LIMIT = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's "
    "size and/or time limits)"
)
BUSY = "Batch job submission failed: Socket timed out on send/recv operation"
NO_ACCOUNT = (
    "Batch job submission failed: Invalid account or account/partition combination specified"
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put commands of Slurm's names on the path; return the folder of what they are told."""
    folder, commands = tmp_path / "controller", tmp_path / "bin"
    folder.mkdir()
    commands.mkdir()
    for name, script in FAKES.items():
        (commands / name).write_text("#!/bin/sh\n" + script.format(folder=folder))
        (commands / name).chmod(0o755)
    for name in ("submitted", "refusals", "cancelled", "queue"):
        (folder / name).touch()
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return folder


def run(harness: Harness, *told: str, code: int = 0) -> list[str]:
    """Run a plan to its end; return what it says on stderr."""
    process = harness.start(*told, output=subprocess.PIPE)
    said, errors = process.communicate(timeout=180)
    assert process.returncode == code, said + errors
    assert "Traceback" not in errors
    return errors.splitlines()


def test_a_refused_job_is_submitted_again_and_others_go_on(fake: Path, tmp_path: Path) -> None:
    (fake / "refusals").write_text(f"\n{LIMIT}\n{LIMIT}\n{BUSY}\n")
    harness = Harness(tmp_path, seeds=3, task="tiny[nap=0.3]")
    said = run(harness, "--executor", "slurm")
    assert harness.records() == ({trial.key: 1 for trial in harness.trials}, [])
    told = [line for line in said if "takes no further job" in line]
    assert [line.partition("(")[2][:21] for line in told] == [
        "Batch job submission ", "Batch job submission "
    ]  # fmt: skip # one line reads better
    assert "job submit limit" in told[0]  # once, though it was refused twice
    assert "Socket timed out" in told[1]
    assert (fake / "cancelled").read_text() == ""
    assert len((fake / "submitted").read_text().splitlines()) == 6


@pytest.mark.parametrize(("refusal", "attempts"), [(BUSY, 2), (NO_ACCOUNT, 1)])
def test_a_controller_that_goes_on_refusing_is_one_line(
    refusal: str, attempts: int, fake: Path, tmp_path: Path
) -> None:
    (fake / "refusals").write_text(f"{refusal}\n" * 9)
    *_, last = run(Harness(tmp_path, seeds=2), "--executor", "slurm[outage=0.5]", code=2)
    assert "--executor slurm: jobs cannot be submitted" in last
    assert refusal in last
    assert len((fake / "submitted").read_text().splitlines()) == attempts


def test_what_runs_is_recorded_where_no_other_job_is_taken(fake: Path, tmp_path: Path) -> None:
    (fake / "refusals").write_text("\n" + f"{NO_ACCOUNT}\n" * 99)
    harness = Harness(tmp_path, seeds=2, task="tiny[nap=1.0]")
    *_, last = run(harness, "--executor", "slurm", code=2)
    assert NO_ACCOUNT in last
    assert sum(harness.records()[0].values()) == 1
    assert (fake / "cancelled").read_text() == ""
    (fake / "refusals").write_text("")
    run(harness, "--executor", "slurm")
    assert harness.records() == ({trial.key: 1 for trial in harness.trials}, [])


def test_a_job_sees_nothing_of_the_submitting_process_allocation(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "SLURM_CONF": "here", "SLURM_JOB_ID": "7", "SLURM_MEM_PER_CPU": "1", "SLURM_CPU_BIND": "x",
        "SLURM_RESTART_COUNT": "3", "SRUN_CPUS_PER_TASK": "9", "SBATCH_MEM_BIND": "x",
        "SBATCH_ACCOUNT": "mine", "SBATCH_PARTITION": "other", "SQUEUE_STATES": "RUNNING",
        "CUDA_VISIBLE_DEVICES": "3", "HIP_VISIBLE_DEVICES": "3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }  # fmt: skip # few lines read better
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    harness = Harness(tmp_path, seeds=1)
    # The harness' reference is for one thread.
    run(harness, "--executor", "slurm[partition=main]", "--threads", "2", code=1)
    kept = {"SLURM_CONF", "SBATCH_ACCOUNT", "CUDA_DEVICE_ORDER"}
    for file in ("environment", "asked"):
        if (fake / file).exists():  # the trial may have ended before anyone asked
            lines = (fake / file).read_text().splitlines()
            assert {line.partition("=")[0] for line in lines} & given.keys() == kept
    script = (fake / "script1").read_text()
    assert re.search(r"^srun .*--cpus-per-task=2 ", script, re.MULTILINE)
    assert "#SBATCH --partition=main" in script
    (path,) = harness.results.glob("records-*.jsonl")
    assert "lost" not in json.loads(path.read_text())["provenance"]["executor"]


def test_files_in_the_current_folder_are_no_modules_of_a_job(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("copy", "random", "typing"):
        (here / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    harness = Harness(tmp_path, seeds=1)
    monkeypatch.chdir(here)
    run(harness, "--executor", "slurm")
    local = Harness(tmp_path / "local", seeds=1)
    run(local, "--executor", "slurm[cluster=local]")
    for one in (harness, local):
        (path,) = one.results.glob("records-*.jsonl")
        assert str(here) not in json.loads(path.read_text())["provenance"]["path"]["searched"]


def test_a_squeue_that_fails_is_said_once_and_results_are_taken(fake: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error' >&2\nexit 1")
    harness = Harness(tmp_path, seeds=1, task="tiny[nap=3]")
    said = run(harness, "--executor", "slurm")
    assert harness.records() == ({trial.key: 1 for trial in harness.trials}, [])
    (told,) = [line for line in said if "squeue" in line]
    assert "squeue does not answer (slurm_load_jobs error)" in told


@pytest.mark.parametrize("absent", [True, False])
def test_without_an_answer_and_a_result_it_ends(
    absent: bool,
    fake: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nsleep 60")  # it hangs
    for name, seconds in {"SPARE_S": 0, "LOOK_S": 0, "ANSWER_S": 0.2}.items():
        monkeypatch.setattr(plugin, name, seconds)
    (tmp_path / "bin" / "scancel").write_text("#!/bin/sh\nexit 1")
    (fake / "vanish").touch()
    (trial,) = Harness(tmp_path, seeds=1).trials
    job = Job(trials=[trial.model_copy(update={"timeout_s": 1.0})])
    site = Site(lambda job: [], lambda trial, progress: None, tmp_path)
    with plugin.Slurm(outage=0).connect(job, site) as connection:
        handle = connection.start(job)
        if absent:
            monkeypatch.setenv("PATH", "/nowhere")

        def waits() -> None:
            until(lambda: connection.ended([handle], 0.05) != [])

        with pytest.raises(ExecutorError, match="no answer of squeue and no result for 1 s"):
            waits()
        connection.cancel(handle)
        assert "--executor slurm: scancel fails" in capsys.readouterr().err


def test_a_driver_that_waits_for_long_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "LEASE_S", 0.3)
    (trial,) = Harness(tmp_path, seeds=1).trials
    site = Site(lambda job: [], lambda trial, progress: None, tmp_path)

    def touched(lease: Path) -> bool:
        return lease.stat().st_mtime > 1

    with plugin.Slurm(cluster="local").connect(Job(trials=[trial]), site):
        (lease,) = (tmp_path / "jobs").glob("*.lease")
        os.utime(lease, (1, 1))
        until(lambda: touched(lease))  # while nobody calls the connection
    os.utime(lease, (1, 1))
    with pytest.raises(EchobenchError, match="has ended"):
        plugin._check_lease(lease)


def test_jobs_of_this_machine_see_the_gpus_that_it_was_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    harness = Harness(tmp_path, seeds=1)
    run(harness, "--executor", "slurm[cluster=local]", "--device", "gpu")
    (path,) = harness.results.glob("records-*.jsonl")
    told = json.loads(path.read_text())["provenance"]
    assert told["granted"] == told["path"]["visible"] == {"CUDA_VISIBLE_DEVICES": "3"}


def test_a_driver_in_an_allocation_runs_its_trials(
    controller: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With these srun ends at once: they exclude each other.
    for name in ("SLURM_MEM_PER_CPU", "SLURM_MEM_PER_NODE"):
        monkeypatch.setenv(name, "100")
    all_reached(tmp_path, "slurm")
    *_, last = run(Harness(tmp_path / "none", seeds=1), "--executor", "slurm[partition=no]", code=2)
    assert "Invalid partition name specified" in last


def test_no_slurm_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    harness = Harness(tmp_path, seeds=1)
    process = harness.start("--executor", "slurm", output=subprocess.PIPE)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "slurm[cluster=local]" in errors.splitlines()[-1]
