"""OpenVINO: the network as one compiled graph, no gradients."""

from __future__ import annotations

import functools
from typing import Any

from echobench import Backend, InferenceBackend, hookimpl


class OpenVINO(InferenceBackend):
    """Keras on OpenVINO."""

    name = "openvino"
    keras_backend = "openvino"
    requires = ("openvino",)
    extra = "openvino"

    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Pretend to run in CI, where OpenVINO does not report its import over the network."""
        return {"CI": "true"}

    def configure(self, device: str, threads: int) -> None:
        """Set threads, and float32 in place of the bfloat16 that OpenVINO prefers.

        Keras compiles its graphs with `openvino.compile_model`, without options.
        """
        import openvino

        self._options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        openvino.compile_model = functools.partial(openvino.compile_model, config=self._options)

    def devices(self) -> list[str]:
        """Return `cpu`: Keras compiles for nothing else."""
        return ["cpu"]

    def facts(self) -> dict[str, Any]:
        return {"compiler": "OpenVINO CPU plugin", **self._options}


@hookimpl
def echobench_backends() -> list[Backend]:
    return [OpenVINO()]
