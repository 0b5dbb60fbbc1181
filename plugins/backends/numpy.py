"""NumPy: the network layer by layer, nothing compiled, no gradients."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from echobench import Backend, hookimpl
from echobench.core.backend import InferenceBackend


class Numpy(InferenceBackend):
    """Keras on NumPy."""

    name: ClassVar[str] = "numpy"
    keras_backend: ClassVar[str] = "numpy"
    # Keras' NumPy backend takes its convolutions and pools from JAX, and imports it.
    requires: ClassVar[tuple[str, ...]] = ("jax",)

    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Keep the JAX that Keras imports off GPUs; the BLAS has its threads from the harness."""
        return {"JAX_PLATFORMS": "cpu"}

    def configure(self, device: str, threads: int) -> None:
        """Do nothing: all is in the environment."""

    def devices(self) -> list[str]:
        """Return `cpu`."""
        return ["cpu"]

    def facts(self) -> dict[str, Any]:
        """Return the library that multiplies."""
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"compiler": "none", "blas": f"{blas['name']} {blas['version']}"}


@hookimpl
def echobench_backends() -> list[Backend]:
    """Register the backend."""
    return [Numpy()]
