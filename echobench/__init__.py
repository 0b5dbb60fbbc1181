"""How fast, and how surely, does each deep-learning backend teach a recurrent network to echo?

The names below are all that a plugin needs, and `run`; docs/reference.md describes each. Importing
them imports no deep-learning framework, except for `Learner` and `Program`, which exist in workers.
"""

import importlib
from typing import TYPE_CHECKING

from echobench.plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from echobench.core.architectures import (
        Form,
        Network,
        attention_encoder_decoder,
        encoder_decoder,
        many_to_one,
        one_to_one,
        sequence_to_sequence,
    )
    from echobench.core.backend import (
        Backend,
        InferenceBackend,
        NativeBackend,
        Predictor,
        ReplicatedTrainer,
        Trainer,
    )
    from echobench.core.coding import Coding, Linear, OneHot
    from echobench.core.file_task import FileTask
    from echobench.core.files import DataFile
    from echobench.core.outline import LSTMLayer, NativeProgram, OutputLayer
    from echobench.core.program import Learner, Program
    from echobench.core.sequences import (
        MISSING,
        Floats,
        Framing,
        Integers,
        Stream,
        to_supervised,
        uniform_sequences,
    )
    from echobench.core.task import EchoTask, Recipe, Task
    from echobench.errors import (
        EchobenchError,
        ExecutorError,
        JobLostError,
        StorageError,
        UnavailableError,
        UnsupportedError,
        UsageError,
    )
    from echobench.flow import run
    from echobench.harness.remote import run_packed_job, unpack_records
    from echobench.harness.request import Request
    from echobench.plugin.interfaces import Connection, Executor, Observer, Site, Study, Variant
    from echobench.text import file_name, plain, say
    from echobench.trial.job import Job, Progress
    from echobench.trial.record import Record
    from echobench.trial.trial import Trial
    from echobench.trial.variables import DEVICE_GRANTS

__all__ = [
    "DEVICE_GRANTS",
    "MISSING",
    "Backend",
    "Coding",
    "Connection",
    "DataFile",
    "EchoTask",
    "EchobenchError",
    "Executor",
    "ExecutorError",
    "FileTask",
    "Floats",
    "Form",
    "Framing",
    "InferenceBackend",
    "Integers",
    "Job",
    "JobLostError",
    "LSTMLayer",
    "Learner",
    "Linear",
    "NativeBackend",
    "NativeProgram",
    "Network",
    "Observer",
    "OneHot",
    "OutputLayer",
    "Predictor",
    "Program",
    "Progress",
    "Recipe",
    "Record",
    "ReplicatedTrainer",
    "Request",
    "Site",
    "StorageError",
    "Stream",
    "Study",
    "Task",
    "Trainer",
    "Trial",
    "UnavailableError",
    "UnsupportedError",
    "UsageError",
    "Variant",
    "attention_encoder_decoder",
    "encoder_decoder",
    "file_name",
    "hookimpl",
    "many_to_one",
    "one_to_one",
    "plain",
    "run",
    "run_packed_job",
    "say",
    "sequence_to_sequence",
    "to_supervised",
    "uniform_sequences",
    "unpack_records",
]

_NAMES = {
    "flow": "run",
    "core.task": "EchoTask Recipe Task",
    "core.sequences": "MISSING Floats Framing Integers Stream to_supervised uniform_sequences",
    "core.file_task": "FileTask",
    "core.files": "DataFile",
    "core.coding": "Coding Linear OneHot",
    "core.architectures": "Form Network attention_encoder_decoder encoder_decoder many_to_one "
    "one_to_one sequence_to_sequence",
    "core.backend": "Backend InferenceBackend NativeBackend Predictor ReplicatedTrainer Trainer",
    "core.program": "Learner Program",
    "core.outline": "LSTMLayer NativeProgram OutputLayer",
    "plugin.interfaces": "Connection Executor Observer Site Study Variant",
    "trial.job": "Job Progress",
    "harness.request": "Request",
    "harness.remote": "run_packed_job unpack_records",
    "trial.trial": "Trial",
    "trial.record": "Record",
    "trial.variables": "DEVICE_GRANTS",
    "text": "file_name plain say",
    "errors": "EchobenchError ExecutorError JobLostError StorageError UnavailableError "
    "UnsupportedError UsageError",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    # Lazy, so that `echobench --help` does not wait for pydantic and NumPy.
    if name in _MODULES:
        return getattr(importlib.import_module(f"echobench.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
