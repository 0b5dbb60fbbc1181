"""What a backend and its peer share: how a process is set up for their framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from echobench import Backend
from echobench.core.backend import padded

if TYPE_CHECKING:
    from echobench.core.sequences import Floats, Integers


class OnJax(Backend):
    """A backend that runs on JAX."""

    keras_backend: ClassVar[str] = "jax"

    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Choose the platform; XLA takes its threads from the affinity."""
        return {"JAX_PLATFORMS": "cuda" if device == "gpu" else "cpu"}

    def cache_environment(self, folder: str) -> dict[str, str]:
        """Keep every compiled program, however small and soon made."""
        return {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def configure(self, device: str, threads: int) -> None:
        """Turn TF32 off on GPUs."""
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")

    def devices(self) -> list[str]:
        """Return the platforms of JAX's devices."""
        import jax

        try:
            return sorted({device.platform for device in jax.devices()})
        # The platform that was asked for is not there: without its plugin JAX only asserts.
        except (RuntimeError, AssertionError):
            return []

    def facts(self) -> dict[str, Any]:
        """Return compiler and precision, and which devices hold anything."""
        import jax

        used = {str(device) for array in jax.live_arrays() for device in array.devices()}
        return {
            "compiler": "XLA",
            "matmul_precision": jax.config.jax_default_matmul_precision,
            "device_kind": jax.devices()[0].device_kind,
            "devices_used": sorted(used),
        }


class JaxLoop:
    """Training by a jitted loop over epochs.

    Args:
        run: takes a learner (donated), rows [chunk, sequences, length] and how many epochs of
            these to train; returns the learner, losses and accuracies [chunk, batches].
        chunk: most epochs of a call.

    Attributes:
        learner: all that training changes.
    """

    def __init__(self, run: Any, chunk: int) -> None:
        self._run = run
        self._chunk = chunk
        self.learner: Any = None

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        """Train on rows [epochs, sequences, length]: losses, accuracies [epochs, batches]."""
        epochs = len(rows)
        self.learner, losses, accuracies = self._run(
            self.learner, padded(rows, self._chunk), epochs
        )
        # np.asarray waits for the device.
        return np.asarray(losses)[:epochs], np.asarray(accuracies)[:epochs]

    def first_losses(self, rows: Integers) -> Floats:
        """Train, and return the loss of every update."""
        return self.train(rows)[0].reshape(-1)


class OnTorch(Backend):
    """A backend that runs on torch."""

    keras_backend: ClassVar[str] = "torch"
    requires: ClassVar[tuple[str, ...]] = ("torch",)
    extra: ClassVar[str | None] = "torch"

    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Choose Keras' device and hide GPUs where the CPU is asked for."""
        if device == "gpu":
            return {"KERAS_TORCH_DEVICE": "cuda"}
        return {"KERAS_TORCH_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}

    def cache_environment(self, folder: str) -> dict[str, str]:
        """Keep what inductor and autograd's compiler made."""
        return {
            "TORCHINDUCTOR_CACHE_DIR": folder,
            "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
            "TORCHINDUCTOR_AUTOGRAD_CACHE": "1",
        }

    def configure(self, device: str, threads: int) -> None:
        """Set threads, flush denormals, and turn TF32 off on GPUs."""
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def devices(self) -> list[str]:
        """Return `cpu`, and `gpu` where CUDA works."""
        import torch

        return ["cpu", "gpu"] if torch.cuda.is_available() else ["cpu"]

    def facts(self) -> dict[str, Any]:
        """Return threads, precision and device."""
        import torch

        return {
            "torch_threads": torch.get_num_threads(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
            "onednn": torch.backends.mkldnn.is_available(),
            "device_kind": torch.cuda.get_device_name() if torch_device() == "cuda" else "cpu",
        }


def torch_device() -> str:
    """Return where torch computes."""
    import torch

    # Where the CPU is asked for, the environment hides the GPUs.
    return "cuda" if torch.cuda.is_available() else "cpu"
