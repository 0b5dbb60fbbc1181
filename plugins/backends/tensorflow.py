"""TensorFlow: many epochs in one `tf.function(jit_compile=True)`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from echobench import Backend, Floats, Integers, Predictor, Trainer, hookimpl

from ._frameworks import UNOPTIMIZED, CompiledLoop

if TYPE_CHECKING:
    from echobench import Program


class TensorFlow(Backend):
    """Keras on TensorFlow."""

    name = "tensorflow"
    keras_backend = "tensorflow"
    requires = ("tensorflow",)
    extra = "tensorflow"

    def environment(self, device: str, threads: int) -> dict[str, str]:
        hidden = {} if device == "gpu" else {"CUDA_VISIBLE_DEVICES": "-1"}
        return {"TF_CPP_MIN_LOG_LEVEL": "2", "NVIDIA_TF32_OVERRIDE": "0", **hidden}

    def cache_environment(self, folder: str) -> dict[str, str]:
        return {"TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={folder}"}

    def smoke_environment(self) -> dict[str, str]:
        return UNOPTIMIZED

    def configure(self, device: str, threads: int) -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.config.experimental.enable_tensor_float_32_execution(False)

    def devices(self) -> list[str]:
        import tensorflow as tf

        return sorted({d.device_type.lower() for d in tf.config.list_physical_devices()})

    def trainer(self, program: Program, chunk: int) -> Trainer:
        return _TensorFlowTrainer(program, chunk)

    def predictor(self, program: Program) -> Predictor:
        import tensorflow as tf

        compiled = tf.function(program.predict, jit_compile=True, autograph=False)

        def predict(weights: list[Floats], rows: Integers) -> Integers:
            tensors = [tf.constant(w) for w in weights]
            answers = compiled(tensors, tf.constant(rows.astype(np.int32)))
            return np.asarray(answers.numpy(), np.int64)

        return predict

    def facts(self) -> dict[str, Any]:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
        return {
            "compiler": "XLA",
            "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "by default"),
            "device_kind": details["device_name"] if gpus else "cpu",
        }


class _TensorFlowTrainer(CompiledLoop, Trainer):
    def __init__(self, program: Program, chunk: int) -> None:
        import tensorflow as tf

        def value_and_grad(f: Any, parameters: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                loss, more = f(parameters)
            # A layer of one step never uses its recurrent kernel.
            unused = tf.UnconnectedGradients.ZERO
            gradients = tape.gradient(loss, parameters, unconnected_gradients=unused)
            return (loss, more), [tf.convert_to_tensor(g) for g in gradients]

        def run(learner: Any, rows: Any, epochs: Any) -> Any:
            def body(step: Any, learner: Any, states: Any, losses: Any, accuracies: Any) -> Any:
                epoch, block = step // program.rounds, step % program.rounds
                learner, states, loss, accuracy = program.advance(
                    learner, states, rows[epoch], block, value_and_grad
                )
                index = [[step]]
                losses = tf.tensor_scatter_nd_update(losses, index, [loss])
                accuracies = tf.tensor_scatter_nd_update(accuracies, index, [accuracy])
                return step + 1, learner, states, losses, accuracies

            steps = chunk * program.rounds
            empty = tf.zeros((steps, program.batches // program.rounds))
            start = (tf.constant(0), learner, program.start_states(), empty, empty)
            end = epochs * program.rounds
            _, learner, _, *metrics = tf.while_loop(lambda step, *_: step < end, body, start)
            return learner, *(tf.reshape(m, (chunk, program.batches)) for m in metrics)

        compiled = tf.function(run, jit_compile=True, autograph=False)
        super().__init__(
            lambda learner, rows, epochs: compiled(learner, tf.constant(rows), tf.constant(epochs)),
            chunk,
        )
        self._program = program

    def reset(self, weights: list[Floats]) -> None:
        import tensorflow as tf

        self.learner = tf.nest.map_structure(tf.constant, self._program.start(weights))

    def weights(self) -> list[Floats]:
        return [p.numpy() for p in self.learner.parameters]

    def execution(self) -> dict[str, Any]:
        kernels = self._program.kernels()
        return {"engine": "while_loop over epochs", "jit": True, "lstm": kernels}


@hookimpl
def echobench_backends() -> list[Backend]:
    return [TensorFlow()]
