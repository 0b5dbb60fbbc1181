"""NumPy: the network layer by layer, nothing compiled, no gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from echobench import Backend, InferenceBackend, hookimpl


class Numpy(InferenceBackend):
    """Keras on NumPy."""

    name = "numpy"
    keras_backend = "numpy"
    # Keras' NumPy backend takes its convolutions and pools from JAX, and imports it.
    requires = ("jax",)

    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Keep the JAX that Keras imports off GPUs; the harness sets the threads of the BLAS."""
        return {"JAX_PLATFORMS": "cpu"}

    def configure(self, device: str, threads: int) -> None:
        """Do nothing: the environment sets everything."""

    def devices(self) -> list[str]:
        return ["cpu"]

    def facts(self) -> dict[str, Any]:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {"compiler": "none", "blas": f"{blas['name']} {blas['version']}"}


@hookimpl
def echobench_backends() -> list[Backend]:
    return [Numpy()]
