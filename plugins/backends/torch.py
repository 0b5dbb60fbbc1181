"""torch: one block of updates traced to a graph of ATen operations, compiled where a compiler is.

Keras' layers cost far more in Python than these small networks cost in
arithmetic. So forward pass, backward pass and update are traced once
(`make_fx`), and the graph runs without Keras: through `torch.compile` if there is a
C++ compiler or a GPU, else operation by operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from echobench import Backend, Floats, Integers, Predictor, Trainer, hookimpl

from ._frameworks import OnTorch, can_compile, torch_device

if TYPE_CHECKING:
    from echobench import Program

TRACED: dict[str, Any] = {"tracing_mode": "fake", "_allow_non_fake_inputs": True}
"""How `make_fx` traces: with shapes alone, but for the constants in a network of one's own."""


class Torch(OnTorch):
    """Keras on torch."""

    name = "torch"
    # The fused kernel fails in the backward pass of a stateful LSTM.
    lstm_options: ClassVar[dict[str, Any]] = {"use_cudnn": False}
    # Inductor compiles its own gradient to code a tenth faster than the hand-written one.
    custom_gradient = False

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
    def __init__(self, program: Program) -> None:
        self._program = program
        self._graph: Any = None

    def reset(self, weights: list[Floats]) -> None:
        import torch
        import torch.utils._pytree as pytree

        device = torch_device()
        start = self._program.start(weights)
        self._learner = pytree.tree_map(lambda a: torch.tensor(a, device=device), start)

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        import torch

        from echobench import Learner

        tokens = torch.tensor(rows.astype(np.int32), device=torch_device())
        blocks = torch.arange(self._program.rounds, dtype=torch.int32, device=torch_device())
        losses: list[Any] = []
        accuracies: list[Any] = []
        with torch.no_grad():
            states = self._program.start_states()
            if self._graph is None:
                self._graph = self._compiled(states, tokens[0], blocks[0])
            for epoch in tokens:
                for block in blocks:
                    learner, states, loss, accuracy = self._graph(
                        *self._learner, states, epoch, block
                    )
                    self._learner = Learner(*learner)
                    # A CUDA graph writes those of every block into the same memory.
                    losses.append(loss.clone())
                    accuracies.append(accuracy.clone())
        shape = (len(rows), self._program.batches)
        # .cpu() waits for the device.
        metrics = (torch.cat(kind).cpu().numpy().reshape(shape) for kind in (losses, accuracies))
        return next(metrics), next(metrics)

    def weights(self) -> list[Floats]:
        return [p.cpu().numpy().copy() for p in self._learner.parameters]

    def execution(self) -> dict[str, Any]:
        from torch._dynamo.utils import counters

        return {
            "engine": "a loop over graphs of a block of updates (make_fx)",
            "jit": can_compile(),
            "compiler": "inductor" if can_compile() else "none",
            "lstm": self._program.kernels(),
            "graphs": counters["stats"]["unique_graphs"],
            "cuda_graphs": torch_device() == "cuda",
        }

    def _compiled(self, states: Any, tokens: Any, block: Any) -> Any:
        import torch
        from torch.fx.experimental.proxy_tensor import make_fx

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

        def advance(p: Any, m: Any, v: Any, step: Any, states: Any, tokens: Any, block: Any) -> Any:
            learner = Learner(p, m, v, step)
            return self._program.advance(learner, states, tokens, block, value_and_grad)

        graph = make_fx(advance, **TRACED)(*self._learner, states, tokens, block)
        if not can_compile():
            return graph
        if torch_device() == "cuda":  # a block is launched as one CUDA graph
            return torch.compile(graph, mode="reduce-overhead")
        # Python between the kernels took a quarter of a small block's time.
        return torch.compile(graph, options={"cpp_wrapper": True})


@hookimpl
def echobench_backends() -> list[Backend]:
    return [Torch()]
