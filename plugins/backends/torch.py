"""torch: one update traced to a graph of ATen operations, compiled where a compiler is.

Keras' layers cost far more in Python than these small networks cost in
arithmetic. So forward pass, backward pass and update are traced once
(`make_fx`), and the graph runs without Keras: compiled by inductor if there is a
C++ compiler or a GPU, else operation by operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from echobench import Backend, Floats, Integers, Predictor, Trainer, hookimpl

from ._frameworks import OnTorch, can_compile, torch_device
from ._inductor import TRACED, Step, Tensors, compile_step, options

if TYPE_CHECKING:
    from echobench import Program, Recipe, Task


class Torch(OnTorch):
    """Keras on torch."""

    name = "torch"
    # The fused kernel fails in the backward pass of a stateful LSTM.
    lstm_options: ClassVar[dict[str, Any]] = {"use_cudnn": False}
    # Inductor compiles its own gradient to code a tenth faster than the hand-written one.
    custom_gradient = False

    def program(self, task: Task, recipe: Recipe) -> Program:
        from echobench import Program

        # A GPU launches a block as one CUDA graph. Elsewhere three updates in a block are no faster
        # than one, and take three times as long to compile.
        blocks = {} if torch_device() == "cuda" else {"unrolled": 1}
        return Program(task, recipe, custom_gradient=self.custom_gradient, **blocks)

    def trainer(self, program: Program, chunk: int) -> Trainer:
        return _TorchTrainer(program)

    def predictor(self, program: Program) -> Predictor:
        import torch
        from torch.fx.experimental.proxy_tensor import make_fx

        graphs: dict[tuple[int, ...], Any] = {}

        def predict(weights: list[Floats], rows: Integers) -> Integers:
            device = torch_device()
            tensors = [torch.tensor(w, device=device) for w in weights]
            tokens = torch.tensor(rows.astype(np.int32), device=device)
            with torch.no_grad():
                if rows.shape not in graphs:
                    # make_fx counts the arguments of a function, not those of a method.
                    graphs[rows.shape] = make_fx(lambda w, t: program.predict(w, t), **TRACED)(
                        tensors, tokens
                    )
                answers = graphs[rows.shape](tensors, tokens)
            return np.asarray(answers.cpu().numpy(), np.int64)

        return predict


class _TorchTrainer(Trainer):
    """Trains a block of updates a call of a function of lists of tensors.

    Its arguments are the leaves of a `Learner`, recurrent states, an epoch's tokens and the
    number of the block; it returns the leaves and the states after the block, losses and
    accuracies.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._step: Step | None = None
        self._compiled = 0

    def reset(self, weights: list[Floats]) -> None:
        import torch
        import torch.utils._pytree as pytree

        device = torch_device()
        start = self._program.start(weights)
        leaves, self._structure = pytree.tree_flatten(start)
        self._learner = [torch.tensor(a, device=device) for a in leaves]

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        import torch

        device = torch_device()
        tokens = torch.tensor(rows.astype(np.int32), device=device).unbind()
        blocks = torch.arange(self._program.rounds, dtype=torch.int32, device=device).unbind()
        losses: Tensors = []
        accuracies: Tensors = []
        with torch.no_grad():
            state = [*self._learner, *self._program.start_states()]
            if self._step is None:
                self._step = self._compile([*state, tokens[0], blocks[0]])
            for epoch in tokens:
                for block in blocks:
                    *state, loss, accuracy = self._step([*state, epoch, block])
                    losses.append(loss)
                    accuracies.append(accuracy)
        self._learner = state[: len(self._learner)]
        shape = (len(rows), self._program.batches)
        # .cpu() waits for the device.
        metrics = (torch.cat(kind).cpu().numpy().reshape(shape) for kind in (losses, accuracies))
        return next(metrics), next(metrics)

    def weights(self) -> list[Floats]:
        count = len(self._program.weight_shapes())
        return [p.cpu().numpy().copy() for p in self._learner[:count]]

    def execution(self) -> dict[str, Any]:
        on_gpu, compiles = torch_device() == "cuda", can_compile()
        blocks = "an update" if self._program.rounds == self._program.batches else "an epoch"
        return {
            "engine": f"a loop over graphs of {blocks} (make_fx)",
            "jit": compiles,
            "compiler": "inductor" if compiles else "none",
            **({"compiler_options": options()} if compiles and not on_gpu else {}),
            "lstm": self._program.kernels(),
            "graphs": self._compiled,
            "cuda_graphs": on_gpu,
        }

    def _compile(self, example: Tensors) -> Step:
        """Return `_advance`, compiled as far as this computer can, for tensors as in `example`."""
        import torch
        from torch.fx.experimental.proxy_tensor import make_fx

        # make_fx counts the arguments of a function, not those of a method.
        def advance(*tensors: Any) -> Tensors:
            return self._advance(*tensors)

        self._compiled += can_compile()
        if can_compile() and torch_device() == "cpu":
            return compile_step(advance, example)
        graph = make_fx(advance, **TRACED)(*example)
        if not can_compile():
            return lambda tensors: graph(*tensors)
        launch = torch.compile(graph, mode="reduce-overhead")

        def run(tensors: Tensors) -> Tensors:
            *state, loss, accuracy = launch(*tensors)
            # A CUDA graph writes those of every block into the same memory.
            return [*state, loss.clone(), accuracy.clone()]

        return run

    def _advance(self, *tensors: Any) -> Tensors:
        import torch
        import torch.utils._pytree as pytree

        from echobench import Learner

        def value_and_grad(f: Any, parameters: Any) -> Any:
            # The gradient is taken inside the trace, so the graph itself needs none.
            with torch.enable_grad():
                leaves = [p.detach().requires_grad_() for p in parameters]
                loss, (states, accuracy) = f(leaves)
                # A layer of one step never uses its recurrent kernel: its gradient is zero.
                gradients = torch.autograd.grad(loss, leaves, materialize_grads=True)
            states = [state.detach() for state in states]
            return (loss.detach(), (states, accuracy.detach())), gradients

        *state, tokens, block = tensors
        count = len(self._learner)
        learner = Learner(*pytree.tree_unflatten(state[:count], self._structure))
        learner, states, loss, accuracy = self._program.advance(
            learner, state[count:], tokens, block, value_and_grad
        )
        return [*pytree.tree_leaves(learner), *states, loss, accuracy]


@hookimpl
def echobench_backends() -> list[Backend]:
    return [Torch()]
