"""torch without Keras: modules, autograd and the fused Adam, in a loop over batches.

What somebody who knows torch writes for speed: one-hot tokens looked up (`torch.nn.Embedding`) and
the inputs of all steps projected at once, which `torch.nn.LSTM` cannot take; so the steps are
written out. The engine `native` runs them eagerly. `compiled` has `torch.compile` fuse forward and
backward pass, which takes a minute. Adam's epsilon is scaled (`NativeProgram.adam_epsilon`), so
that it learns what Keras learns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from echobench import (
    Backend,
    Floats,
    Integers,
    LSTMLayer,
    NativeBackend,
    NativeProgram,
    Predictor,
    Trainer,
    UnsupportedError,
    hookimpl,
)

from ._frameworks import OnTorch, PeerNetwork, can_compile, looks_up, torch_device


class TorchNative(OnTorch, NativeBackend):
    """torch, without Keras."""

    name = "torch-native"
    engines = ("native", "compiled")

    def trainer(self, program: NativeProgram, chunk: int) -> Trainer:
        return _TorchNativeTrainer(program)

    def other_trainer(self, engine: str, program: NativeProgram, chunk: int) -> Trainer:
        if not can_compile():
            raise UnsupportedError("torch.compile takes a C++ compiler or a GPU")
        return _TorchNativeTrainer(program, compiled=True)

    def predictor(self, program: NativeProgram) -> Predictor:
        import torch

        network = _TorchNativeNetwork(program)

        def predict(weights: list[Floats], rows: Integers) -> Integers:
            network.load(weights)
            with torch.inference_mode():
                tokens = torch.as_tensor(rows, device=network.device)
                answers = torch.cat(network.answers(tokens, network.forward), dim=1)
            return np.asarray(answers.cpu().numpy(), np.int64)

        return predict


class _TorchNativeTrainer(Trainer):
    def __init__(self, program: NativeProgram, *, compiled: bool = False) -> None:
        import torch

        self._program = program
        self._network = _TorchNativeNetwork(program)
        self._compiled = compiled
        learn = self._network.learn
        self._learn = torch.compile(learn, dynamic=False) if compiled else learn

    def reset(self, weights: list[Floats]) -> None:
        import torch

        recipe = self._program.recipe
        self._network.load(weights)
        self._adam = torch.optim.Adam(self._network.parameters, lr=recipe.learning_rate, fused=True)
        self._updates = 0
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._adam, lambda step: recipe.rate(step) / recipe.learning_rate
        )

    def train(self, rows: Integers) -> tuple[Floats, Floats]:
        import torch

        network = self._network
        losses, accuracies = [], []
        for epoch in torch.as_tensor(rows, device=network.device):
            states = None
            for number in range(self._program.batches):
                x, y = network.batch(epoch, number)
                loss, accuracy, after = self._learn(x, y, states)
                self._adam.zero_grad()
                loss.backward()
                self._step()
                states = after if self._program.carries else None
                losses.append(loss.detach())
                accuracies.append(accuracy)
        if not self._compiled:
            self._program.traces += len(losses)
        shape = (len(rows), self._program.batches)
        # .cpu() waits for the device.
        metrics = (torch.stack(kind).cpu().numpy().reshape(shape) for kind in (losses, accuracies))
        return next(metrics), next(metrics)

    def weights(self) -> list[Floats]:
        return self._network.weights()

    def execution(self) -> dict[str, Any]:
        layers = self._program.layers
        unrolled = [f"{n.steps} steps unrolled" for n in layers if isinstance(n, LSTMLayer)]
        passes = "compiled" if self._compiled else "eager"
        return {
            "engine": f"a loop over {passes} passes, one a batch",
            "jit": self._compiled,
            "lstm": unrolled,
        }

    def _step(self) -> None:
        from torch.nn.utils import clip_grad_norm_

        recipe = self._program.recipe
        if recipe.clip:
            clip_grad_norm_(self._network.parameters, recipe.clip)
        self._updates += 1
        for group in self._adam.param_groups:
            group["eps"] = self._program.adam_epsilon(self._updates)
        self._adam.step()
        if recipe.warmup or recipe.decay:
            self._schedule.step()


class _TorchNativeNetwork(PeerNetwork):
    """The network as `torch.nn` modules, with Keras' weights in and out."""

    def __init__(self, program: NativeProgram) -> None:
        import torch
        from torch import nn

        self.device = torch.device(torch_device())
        inputs, targets = (
            torch.as_tensor(indices, device=self.device, dtype=torch.long)
            for indices in (program.inputs, program.targets)
        )
        super().__init__(program, inputs, targets)
        self._lookup = looks_up(program)
        self._layers: list[Any] = []
        for number, layer in enumerate(program.layers):
            if isinstance(layer, LSTMLayer):
                gates = 4 * layer.units
                if self._lookup and number == 0:
                    inputs = nn.Embedding(layer.features, gates)
                else:
                    inputs = nn.Linear(layer.features, gates, bias=False)
                modules: list[Any] = [inputs, nn.Linear(layer.units, gates)]
            else:
                modules = [nn.Linear(layer.features, layer.units)]
            self._layers.append([module.to(self.device) for module in modules])
        every = [module for modules in self._layers for module in modules]
        # In Keras' order, as is that of a module: kernel, then bias.
        self.parameters = [p for module in every for p in module.parameters()]
        self._transposed = [
            isinstance(module, nn.Linear) for module in every for _ in module.parameters()
        ]

    def one_hot(self, tokens: Any) -> Any:
        from torch.nn import functional

        return functional.one_hot(tokens, self.program.width).float()

    def load(self, weights: list[Floats]) -> None:
        """Set the weights; Keras' kernels are transposed, but for a lookup's."""
        import torch

        with torch.no_grad():
            for p, value, turned in zip(self.parameters, weights, self._transposed, strict=True):
                p.copy_(torch.as_tensor(value.T if turned else value))

    def weights(self) -> list[Floats]:
        """Return the weights as Keras has them."""
        values = (p.detach().cpu().numpy() for p in self.parameters)
        turned = zip(values, self._transposed, strict=True)
        return [(value.T if transposed else value).copy() for value, transposed in turned]

    def forward(self, tokens: Any, states: list[Any] | None) -> tuple[Any, list[Any]]:
        """Return the last layer's output for integers [samples, n_in], and the states after it."""
        x, after = tokens if self._lookup else self.encode(tokens), []
        for number, layer in enumerate(self.program.layers):
            if isinstance(layer, LSTMLayer):
                state, x = self._lstm(number, layer, x, states[number] if states else None)
                after.append(state)
            else:
                (module,) = self._layers[number]
                x = module(x).reshape(len(x), layer.steps, layer.width)
        return x, after

    def _lstm(self, number: int, layer: LSTMLayer, x: Any, state: Any) -> tuple[Any, Any]:
        """Return the state (h, c) after the steps, and the layer's output."""
        import torch

        inputs, recurrent = self._layers[number]
        if self._lookup and number == 0:
            x = x.reshape(len(x), layer.steps, -1)  # several tokens: timesteps as features
            offsets = torch.arange(x.shape[-1], device=x.device) * self.program.width
            z = inputs(x + offsets).sum(dim=2)
        else:
            z = inputs(x if layer.repeat else x.reshape(len(x), layer.steps, layer.features))
        h, c = state or (None, None)
        outputs = []
        for number in range(layer.steps):
            # A repeated input is projected once, a zero state is not multiplied.
            gates = z if layer.repeat else z[:, number]
            gates = gates + (recurrent.bias if h is None else recurrent(h))
            i, f, g, o = gates.chunk(4, dim=-1)
            new = i.sigmoid() * g.tanh()
            c = new if c is None else f.sigmoid() * c + new
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return (h, c), torch.stack(outputs, dim=1) if layer.sequences else h

    def learn(self, x: Any, y: Any, states: list[Any] | None) -> tuple[Any, Any, list[Any]]:
        """Return loss and accuracy of tokens x, given y, and the states after them."""
        from torch.nn import functional

        outputs, after = self.forward(x, states)
        if self.program.scale is None:
            loss = functional.cross_entropy(outputs.flatten(0, 1), y.flatten())
        else:
            loss = functional.mse_loss(outputs, self.encode(y))
        accuracy = (self.decode(outputs.detach()) == y).float().mean()
        return loss, accuracy, [(h.detach(), c.detach()) for h, c in after]


@hookimpl
def echobench_backends() -> list[Backend]:
    return [TorchNative()]
