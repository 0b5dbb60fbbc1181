"""Environment variables of a worker: what it inherits, and which ones a user may hand to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

KEPT = (
    "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "SYSTEMROOT", "TMPDIR",
)  # fmt: skip # one line reads better
"""All that every worker inherits. Every `KERAS_*` of the user's, above all, is dropped."""
DEVICE_GRANTS = (
    "CUDA_VISIBLE_DEVICES", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "CUDA_MPS_PIPE_DIRECTORY",
    "GPU_DEVICE_ORDINAL", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
    "ONEAPI_DEVICE_SELECTOR", "ZE_AFFINITY_MASK",
)  # fmt: skip # one maker a line
"""Variables by which Ray, Slurm or a user grants GPUs, or a share of one, to a process."""
DEVICE_VARIABLES = (*DEVICE_GRANTS, "CUDA_DEVICE_ORDER", "ZE_FLAT_DEVICE_HIERARCHY")
"""The grants, and the variables that say which GPU has which number; a worker on GPUs inherits
them."""
SET = (
    "KERAS_BACKEND", "KERAS_HOME", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "TORCHINDUCTOR_CACHE_DIR",
)  # fmt: skip # two lines read better
"""What echobench sets itself; `TMPDIR`, a folder of the worker's own, too."""
ISOLATING = (
    "PYTHONEXECUTABLE", "PYTHONHOME", "PYTHONINSPECT", "PYTHONNOUSERSITE", "PYTHONPLATLIBDIR",
    "PYTHONPYCACHEPREFIX", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONWARNINGS", "TEMP", "TMP",
)  # fmt: skip # two lines read better
"""What would have a worker run other files than those that its versions name, or not end."""
COMMON = (
    "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_ARENA_TEST", "MALLOC_CHECK_",
    "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_PERTURB_", "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_", "TZ",
)  # fmt: skip # three lines read better
"""What the C library of every process reads, whatever its backend: the closed division takes no
other. `LD_PRELOAD` is none of these: a library that it loads can change one backend alone, and so
does `OMP_*`, which only some of them read."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile(
    r"KEYS?$|PASSW|PASSPHRASE|SECRET|TOKENS?(_|$)|CREDENTIAL|BEARER|(^|_)(AUTH|KEY|PASS|PAT|PWD)S?(_|$)",
    re.IGNORECASE,
)
"""Names of what nobody wants to publish, as records are."""
LOGIN = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
"""A user's password in an address."""


LONGEST_VALUE = 24
"""Characters of a variable's value in a column of a table."""


def device_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that say which GPUs its process was granted."""
    return {name: environment[name] for name in DEVICE_VARIABLES if name in environment}


def why_refused(name: str, value: str) -> str | None:
    """Return why a user may not hand a variable to workers; None if he may."""
    if not NAME.fullmatch(name):
        return "expected a name of letters, digits and _"
    if SECRET.search(name):
        return "its name is that of a secret, and records are published with its value"
    if LOGIN.search(value):
        return "its value holds a password, and records are published with it"
    if name in DEVICE_VARIABLES:
        return "a run on GPUs hands it over by itself; leave --env out"
    if name in SET or name == "TMPDIR":
        return "echobench sets it itself"
    if name in KEPT:
        return "every worker inherits it; leave --env out"
    if name in ISOLATING:
        return "a worker would no longer run what its record says"
    return None


def uncommon(names: Iterable[str]) -> list[str]:
    """Return those that may change one backend alone, which the closed division refuses."""
    return sorted(name for name in names if name not in COMMON)


def variables_text(variables: Mapping[str, str]) -> str:
    """Return variables as a shell takes them before a command: `NAME=VALUE NAME=VALUE`."""
    return " ".join(f"{name}={value}" for name, value in sorted(variables.items()))


def short_text(variables: Mapping[str, str]) -> str:
    """Return variables as `variables_text`, the middle of each long value left out."""
    half = LONGEST_VALUE // 2
    cut = {
        name: value if len(value) <= LONGEST_VALUE else f"{value[: half - 1]}…{value[-half:]}"
        for name, value in variables.items()
    }
    return variables_text(cut)
