"""torch without Keras: `torch.nn.LSTM`, autograd and the fused Adam, in an eager loop.

What a user of torch would write: modules, one-hot inputs, `cross_entropy` on logits, a
Python loop over batches. Two things are set so that it learns what Keras learns:
`torch.nn.LSTM` has a second bias, which Keras' does not (it stays at zero), and Adam's
epsilon is scaled (`NativeProgram.adam_epsilon`).
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
    hookimpl,
)

from ._frameworks import OnTorch, PeerNetwork, torch_device


class TorchNative(OnTorch, NativeBackend):
    """torch, without Keras."""

    name = "torch-native"

    def trainer(self, program: NativeProgram, chunk: int) -> Trainer:
        return _TorchNativeTrainer(program)

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
    def __init__(self, program: NativeProgram) -> None:
        self._program = program
        self._network = _TorchNativeNetwork(program)

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
                outputs, after = network.forward(x, states)
                loss = network.loss(outputs, y)
                self._adam.zero_grad()
                loss.backward()
                self._step()
                if self._program.carries:
                    states = [tuple(state.detach() for state in pair) for pair in after]
                losses.append(loss.detach())
                accuracies.append((network.decode(outputs.detach()) == y).float().mean())
        self._program.traces += len(losses)
        shape = (len(rows), self._program.batches)
        # .cpu() waits for the device.
        metrics = (torch.stack(kind).cpu().numpy().reshape(shape) for kind in (losses, accuracies))
        return next(metrics), next(metrics)

    def weights(self) -> list[Floats]:
        return self._network.weights()

    def execution(self) -> dict[str, Any]:
        layers = self._program.layers
        kernels = ["torch.nn.LSTM" for layer in layers if isinstance(layer, LSTMLayer)]
        return {"engine": "an eager loop over batches", "jit": False, "lstm": kernels}

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
        self.modules: list[Any] = []
        self.parameters: list[Any] = []  # in Keras' order
        for layer in program.layers:
            if isinstance(layer, LSTMLayer):
                module = nn.LSTM(layer.features, layer.units, batch_first=True).to(self.device)
                nn.init.zeros_(module.bias_hh_l0)
                module.bias_hh_l0.requires_grad_(False)
                weights = [module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0]
            else:
                module = nn.Linear(layer.features, layer.units).to(self.device)
                weights = [module.weight, module.bias]
            self.modules.append(module)
            self.parameters += weights

    def one_hot(self, tokens: Any) -> Any:
        from torch.nn import functional

        return functional.one_hot(tokens, self.program.width).float()

    def load(self, weights: list[Floats]) -> None:
        """Set the weights; Keras' kernels are transposed."""
        import torch

        with torch.no_grad():
            for parameter, value in zip(self.parameters, weights, strict=True):
                parameter.copy_(torch.as_tensor(value.T))

    def weights(self) -> list[Floats]:
        """Return the weights as Keras has them."""
        return [p.detach().cpu().numpy().T.copy() for p in self.parameters]

    def forward(self, tokens: Any, states: list[Any] | None) -> tuple[Any, list[Any]]:
        """Return the last layer's output for integers [samples, n_in], and the states after it."""
        x, after = self.encode(tokens), []
        for number, layer in enumerate(self.program.layers):
            module = self.modules[number]
            if isinstance(layer, LSTMLayer):
                if layer.repeat:
                    x = x.unsqueeze(1).expand(-1, layer.steps, -1)
                elif x.shape[1] != layer.steps:  # timesteps as features
                    x = x.reshape(len(x), layer.steps, layer.features)
                x, state = module(x, states[number] if states else None)
                after.append(state)
                x = x if layer.sequences else x[:, -1]
            else:
                x = module(x).reshape(len(x), layer.steps, layer.width)
        return x, after

    def loss(self, outputs: Any, y: Any) -> Any:
        from torch.nn import functional

        if self.program.scale is None:
            return functional.cross_entropy(outputs.flatten(0, 1), y.flatten())
        return functional.mse_loss(outputs, self.encode(y))


@hookimpl
def echobench_backends() -> list[Backend]:
    return [TorchNative()]
