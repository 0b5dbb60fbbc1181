"""What backends of the same framework share: its settings, its loops, the peers' arithmetic."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from echobench import Backend, Floats, Integers, LSTMLayer, NativeProgram, Predictor, Trainer

NO_COMPILER = "none"
UNCOMPILED = {"TORCH_COMPILE_DISABLE": "1"}
UNOPTIMIZED = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
"""Variables of torch and of XLA."""
COMPILER_S = 10.0
"""Seconds in which a compiler tells its version."""
LONGEST_UNROLLED = 64
"""Steps up to which a peer on JAX unrolls an LSTM; a longer one is a `lax.scan`."""


class OnJax(Backend):
    """A backend that runs on JAX."""

    keras_backend = "jax"

    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Choose the platform; XLA takes its number of threads from the affinity."""
        return {"JAX_PLATFORMS": "cuda" if device == "gpu" else "cpu"}

    def cache_environment(self, folder: str) -> dict[str, str]:
        """Cache every compiled program, however small and however quickly compiled."""
        return {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def smoke_environment(self) -> dict[str, str]:
        """Have XLA leave its programs unoptimized."""
        return UNOPTIMIZED

    def configure(self, device: str, threads: int) -> None:
        """Turn TF32 off on GPUs."""
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")

    def devices(self) -> list[str]:
        import jax

        try:
            return sorted({device.platform for device in jax.devices()})
        # The chosen platform is missing; without its plugin JAX raises a bare assertion.
        except (RuntimeError, AssertionError):
            return []

    def facts(self) -> dict[str, Any]:
        import jax

        used = {str(device) for array in jax.live_arrays() for device in array.devices()}
        return {
            "compiler": "XLA",
            "matmul_precision": jax.config.jax_default_matmul_precision,
            "device_kind": jax.devices()[0].device_kind,
            "devices_used": sorted(used),
        }


class OnTorch(Backend):
    """A backend that runs on torch."""

    keras_backend = "torch"
    requires = ("torch",)
    extra = "torch"

    def versions(self) -> dict[str, str]:
        """Return the C++ compiler too: without one torch runs another program, ten times slower."""
        return {**super().versions(), "c++": compiler_version(compiler())}

    def environment(self, device: str, threads: int) -> dict[str, str]:
        """Choose Keras' device; hide GPUs from a run on the CPU; name the compiler for inductor."""
        found = compiler()
        cxx = {} if found is None else {"CXX": found}  # by itself it looks for g++ alone
        if device == "gpu":
            return {"KERAS_TORCH_DEVICE": "cuda", **cxx}
        return {"KERAS_TORCH_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "", **cxx}

    def cache_environment(self, folder: str) -> dict[str, str]:
        """Cache the output of inductor and of autograd's compiler."""
        return {
            "TORCHINDUCTOR_CACHE_DIR": folder,
            "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
            "TORCHINDUCTOR_AUTOGRAD_CACHE": "1",
        }

    def smoke_environment(self) -> dict[str, str]:
        """Have torch run what it would compile, operation by operation."""
        return UNCOMPILED

    def configure(self, device: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def devices(self) -> list[str]:
        import torch

        return ["cpu", "gpu"] if torch.cuda.is_available() else ["cpu"]

    def facts(self) -> dict[str, Any]:
        import torch

        return {
            "torch_threads": torch.get_num_threads(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
            "onednn": torch.backends.mkldnn.is_available(),
            "device_kind": torch.cuda.get_device_name() if torch_device() == "cuda" else "cpu",
        }


def torch_device() -> str:
    """Return the device that torch computes on: `cuda` or `cpu`."""
    import torch

    # OnTorch.environment hides the GPUs from a run on the CPU.
    return "cuda" if torch.cuda.is_available() else "cpu"


def compiler() -> str | None:
    """Return the path of the C++ compiler; None if there is none that runs."""
    found = filter(None, map(shutil.which, ("g++", "clang++", "c++")))
    return next((path for path in found if compiler_version(path) != NO_COMPILER), None)


@functools.cache
def compiler_version(path: str | None) -> str:
    """Return a compiler's name and version, `NO_COMPILER` if it does not run."""
    if path is None:
        return NO_COMPILER
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=COMPILER_S,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return NO_COMPILER
    line = re.sub(r"\([^()]*\)", "", done.stdout.partition("\n")[0])  # whose package it is
    name = "clang++" if "clang" in line else Path(path).name
    number = re.search(r"\d[\w.]*", line)
    return f"{name} {number[0]}" if number else name


def can_compile() -> bool:
    """Return whether `torch.compile` has what it needs, and is wanted: a GPU or a C++ compiler."""
    import torch

    if UNCOMPILED.items() <= os.environ.items():
        return False
    return torch.cuda.is_available() or compiler() is not None


class CompiledLoop:
    """Training by a compiled loop over epochs.

    Args:
        run: takes a learner, int32 rows [chunk, sequences, length] and the number of epochs to
            train; returns the learner, losses and accuracies [chunk, batches].
        chunk: the most epochs of one call. Fewer rows are padded with zeros, so that shapes
            stay the same.

    Attributes:
        learner: all that training changes.
    """

    def __init__(self, run: Any, chunk: int) -> None:
        self._run = run
        self._chunk = chunk
        self.learner: Any = None

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        """Train on rows [epochs, sequences, length]; losses, accuracies [epochs, batches]."""
        epochs = len(rows)
        padded = np.zeros((self._chunk, *rows.shape[1:]), np.int32)
        padded[:epochs] = rows
        self.learner, losses, accuracies = self._run(self.learner, padded, epochs)
        # np.asarray waits for the device.
        return np.asarray(losses)[:epochs], np.asarray(accuracies)[:epochs]


def looks_up(program: NativeProgram) -> bool:
    """Return whether the first layer's product with one-hot tokens is a lookup in its kernel."""
    first = program.layers[0]
    return program.scale is None and isinstance(first, LSTMLayer) and not first.repeat


class PeerNetwork(ABC):
    """A network in a framework's own layers: what is the same for every array library.

    `inputs` and `targets` are the program's, as the library indexes with them.
    """

    def __init__(self, program: NativeProgram, inputs: Any, targets: Any) -> None:
        self.program = program
        self._inputs = inputs
        self._targets = targets

    @abstractmethod
    def one_hot(self, tokens: Any) -> Any:
        """Return integers [...] as float32 [..., width]."""

    def encode(self, tokens: Any) -> Any:
        """Return integers [...] as the network sees them, float32 [..., width]."""
        scale = self.program.scale
        return self.one_hot(tokens) if scale is None else tokens[..., None] / scale

    def decode(self, outputs: Any) -> Any:
        """Return outputs [samples, n_out, width] as tokens [samples, n_out]."""
        scale = self.program.scale
        if scale is None:
            return outputs.argmax(-1)
        return (outputs[..., 0] * scale).round().clip(0, scale)

    def batch(self, rows: Any, number: int) -> tuple[Any, Any]:
        """Return x [samples, n_in] and y [samples, n_out] of a batch of rows [count, length]."""
        inputs, targets = self._inputs[number], self._targets[number]
        x, y = rows[:, inputs], rows[:, targets]
        return x.reshape(-1, inputs.shape[-1]), y.reshape(-1, targets.shape[-1])

    def answers(self, rows: Any, forward: Callable[[Any, Any], tuple[Any, Any]]) -> list[Any]:
        """Return the answers to rows [count, length], [count, samples, n_out] for each batch.

        `forward` takes x and states; it returns outputs and the states after them.
        """
        states, answers = None, []
        for number in range(self.program.batches):
            x, y = self.batch(rows, number)
            outputs, after = forward(x, states)
            states = after if self.program.carries else None
            answers.append(self.decode(outputs).reshape(len(rows), -1, y.shape[-1]))
        return answers


class JaxNetwork(PeerNetwork):
    """A peer's network on JAX: what is the same for each library of layers."""

    def __init__(self, program: NativeProgram) -> None:
        super().__init__(program, program.inputs, program.targets)

    @abstractmethod
    def forward(self, parameters: Any, tokens: Any, states: Any) -> tuple[Any, Any]:
        """Return outputs [samples, n_out, width] for tokens [samples, n_in], and states."""

    def entry(self, tokens: Any) -> Any:
        """Return what the first layer gets: tokens to look up, or vectors."""
        return tokens if looks_up(self.program) else self.encode(tokens)

    def one_hot(self, tokens: Any) -> Any:
        import jax

        return jax.nn.one_hot(tokens, self.program.width)

    def loss(self, parameters: Any, x: Any, y: Any, states: Any) -> Any:
        """Return the mean loss, and with it the states after x and the accuracy."""
        import jax.numpy as jnp
        import optax

        outputs, after = self.forward(parameters, x, states)
        if self.program.scale is None:
            losses = optax.softmax_cross_entropy_with_integer_labels(outputs, y)
            # XLA's argmax takes as long as three products of the output layer.
            answered = jnp.take_along_axis(outputs, y[..., None], axis=-1)[..., 0]
            right = answered >= outputs.max(-1)
        else:
            losses = optax.losses.squared_error(outputs, self.encode(y))
            right = self.decode(outputs) == y
        return losses.mean(), (after, right.mean())


class JaxPeerTrainer(CompiledLoop, Trainer):
    """A peer's loop over epochs on JAX.

    Args:
        run: the compiled function of `epochs_on_the_device`.
        program: the experiment.
        chunk: the most epochs of a call.
        adam: what `optimizer` returns.
        load: makes parameters of Keras' weights.
    """

    def __init__(
        self,
        run: Any,
        program: NativeProgram,
        chunk: int,
        adam: Any,
        load: Callable[[list[Floats]], Any],
    ) -> None:
        super().__init__(run, chunk)
        self.program = program
        self._adam, self._load = adam, load

    def reset(self, weights: list[Floats]) -> None:
        import jax
        import jax.numpy as jnp

        # jnp.array copies: the buffers are donated, the caller's weights are not.
        parameters = jax.tree.map(jnp.array, self._load(weights))
        self.learner = (parameters, self._adam.init(parameters))

    def execution(self) -> dict[str, Any]:
        steps = [layer.steps for layer in self.program.layers if isinstance(layer, LSTMLayer)]
        kernels = [
            f"{n} steps unrolled" if n <= LONGEST_UNROLLED else "lax.scan over steps" for n in steps
        ]
        return {"engine": "fori_loop over epochs", "jit": True, "lstm": kernels}


def epochs_on_the_device(network: JaxNetwork, chunk: int, update: Callable[..., Any]) -> Any:
    """Return a function for `CompiledLoop`, to be compiled: a `lax.fori_loop` over epochs.

    `update` takes a learner, x, y and states; it returns the learner, the states after x, and
    loss and accuracy before the update.
    """
    import jax.numpy as jnp
    from jax import lax

    program = network.program

    def epoch(learner: Any, rows: Any) -> Any:
        states, metrics = None, []
        for number in range(program.batches):
            x, y = network.batch(rows, number)
            learner, after, *both = update(learner, x, y, states)
            states = after if program.carries else None
            metrics.append(both)
        return learner, *(jnp.stack(kind) for kind in zip(*metrics, strict=True))

    def run(learner: Any, rows: Any, epochs: Any) -> Any:
        program.traces += 1

        def body(number: Any, carry: Any) -> Any:
            learner, losses, accuracies = carry
            learner, loss, accuracy = epoch(learner, rows[number])
            return learner, losses.at[number].set(loss), accuracies.at[number].set(accuracy)

        empty = jnp.zeros((chunk, program.batches))
        return lax.fori_loop(0, epochs, body, (learner, empty, empty))

    return run


def optimizer(program: NativeProgram) -> Any:
    """Return the recipe's optimizer in optax: clipping, and Adam with schedule and epsilon."""
    import optax

    recipe = program.recipe
    rate, warmup, decay = recipe.learning_rate, recipe.warmup, recipe.decay
    schedule = rate
    if decay:
        schedule = optax.warmup_cosine_decay_schedule(
            0.0 if warmup else rate, rate, warmup, warmup + decay
        )
    elif warmup:
        schedule = optax.linear_schedule(0.0, rate, warmup)
    adam = optax.inject_hyperparams(optax.adam)(
        schedule, eps=lambda updates: program.adam_epsilon(updates + 1)
    )
    clip = [optax.clip_by_global_norm(recipe.clip)] if recipe.clip else []
    return optax.chain(*clip, adam)


def jax_predictor(network: JaxNetwork, load: Callable[[list[Floats]], Any]) -> Predictor:
    """Return the compiled forward pass; `load` makes parameters of Keras' weights."""
    import jax
    import jax.numpy as jnp

    def forward(parameters: Any, rows: Any) -> Any:
        network.program.traces += 1
        answers = network.answers(rows, functools.partial(network.forward, parameters))
        return jnp.concatenate(answers, axis=1)

    compiled = jax.jit(forward)

    def predict(weights: list[Floats], rows: Integers) -> Integers:
        return np.asarray(compiled(load(weights), rows.astype(np.int32)), np.int64)

    return predict
