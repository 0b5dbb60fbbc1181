"""Run in a process of its own on one backend: what saved networks answer, loaded in turn.

`python -m tests.probes.predicting BACKEND FOLDER FILE.py...` reads the networks of FOLDER, whose
tasks are those of the files, and writes the answers to FOLDER/BACKEND.npz by the networks' names.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from echobench.core.training import Ledger
from echobench.harness.saved_networks import networks_at, read_network
from echobench.plugin.manager import Plugins
from echobench.trial.job import Inference


def main(backend_name: str, folder: Path, *files: str) -> None:
    plugins = Plugins([Path(file) for file in files])
    backend = plugins.backends[backend_name].value
    backend.configure("cpu", 1)
    from echobench.worker import prediction

    # One sample is asked for as well, but the time that it takes is of no interest.
    prediction.WARM_UP = prediction.MIN_CALLS = 1
    prediction.ENOUGH_S = 0.0
    found = {}
    for path in networks_at(folder):
        trial = read_network(path, plugins).trial
        task = plugins.tasks[trial.task].value(**trial.parameters)
        answers = folder / f"{backend_name}.npy"
        asked = Inference(model=str(path), batches=[1], answers=str(answers))
        fields = prediction.predict(asked, trial, task, backend, Ledger(time.monotonic()))
        assert fields["status"] == "measured"
        found[path.stem] = np.load(answers)
    np.savez(folder / f"{backend_name}.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
