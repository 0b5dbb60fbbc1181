"""torch without Keras: `torch.nn.LSTM`, autograd and the fused Adam, in an eager loop.

What a user of torch would write: modules, one-hot inputs, `cross_entropy` on logits, a
Python loop over batches. Two things are set so that it learns what Keras learns:
`torch.nn.LSTM` has a second bias, which Keras' has not (it stays at zero), and torch adds
Adam's epsilon after the bias correction, Keras before it (`keras_epsilon`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from echobench import NativeBackend, hookimpl
from echobench.core.outline import Lstm, keras_epsilon

from ..backends._frameworks import OnTorch, torch_device

if TYPE_CHECKING:
    from echobench import Backend
    from echobench.core.backend import Predictor, Trainer
    from echobench.core.outline import NativeProgram
    from echobench.core.sequences import Floats, Integers


class TorchNative(OnTorch, NativeBackend):
    """torch, without Keras."""

    name: ClassVar[str] = "torch-native"

    def trainer(self, program: NativeProgram, chunk: int) -> Trainer:
        """Return an eager loop over batches."""
        return _Trainer(program)

    def predictor(self, program: NativeProgram) -> Predictor:
        """Return the eager forward pass."""
        import torch

        network = _Network(program)

        def predict(weights: list[Floats], rows: Integers) -> Integers:
            network.load(weights)
            with torch.inference_mode():
                answers = network.answers(torch.as_tensor(rows, device=network.device))
            return np.asarray(answers.cpu().numpy(), np.int64)

        return predict


class _Network:
    """The layers of an outline as `torch.nn` has them, and Keras' weights in and out."""

    def __init__(self, program: NativeProgram) -> None:
        import torch
        from torch import nn

        self.program = program
        self.device = torch.device(torch_device())
        self.layers: list[Any] = []
        for layer in program.layers:
            if isinstance(layer, Lstm):
                lstm = nn.LSTM(layer.features, layer.units, batch_first=True)
                nn.init.zeros_(lstm.bias_hh_l0)
                lstm.bias_hh_l0.requires_grad_(False)
                self.layers.append(lstm.to(self.device))
            else:
                width = layer.width * (layer.steps if layer.at_once else 1)
                self.layers.append(nn.Linear(layer.features, width).to(self.device))
        places = (program.inputs, program.targets)
        self.inputs, self.targets = (
            torch.as_tensor(p, device=self.device, dtype=torch.long) for p in places
        )

    @property
    def parameters(self) -> list[Any]:
        """Return what is trained, in Keras' order."""
        found = []
        for layer in self.layers:
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
            is_lstm = hasattr(layer, "weight_ih_l0")
            found += [getattr(layer, n) for n in (names if is_lstm else ("weight", "bias"))]
        return found

    def load(self, weights: list[Floats]) -> None:
        """Set the weights; Keras' kernels lie the other way round."""
        import torch

        with torch.no_grad():
            for parameter, value in zip(self.parameters, weights, strict=True):
                parameter.copy_(torch.as_tensor(value.T))

    def weights(self) -> list[Floats]:
        """Return the weights as Keras has them."""
        return [p.detach().cpu().numpy().T.copy() for p in self.parameters]

    def forward(self, tokens: Any, states: list[Any] | None) -> tuple[Any, list[Any]]:
        """Return the last layer's output for integers [samples, n_in], and the states after."""
        x, after = self._encoded(tokens), []
        for place, (layer, module) in enumerate(zip(self.program.layers, self.layers, strict=True)):
            if isinstance(layer, Lstm):
                if layer.repeat:
                    x = x.unsqueeze(1).expand(-1, layer.steps, -1)
                elif x.shape[1] != layer.steps:  # timesteps as features
                    x = x.reshape(len(x), layer.steps, layer.features)
                x, state = module(x, states[place] if states else None)
                after.append(state)
                x = x if layer.sequences else x[:, -1]
            else:
                x = module(x).reshape(len(x), layer.steps, layer.width)
        return x, after

    def batch(self, rows: Any, batch: int) -> tuple[Any, Any]:
        """Frame one batch of samples of rows [sequences, length]."""
        x, y = rows[:, self.inputs[batch]], rows[:, self.targets[batch]]
        return x.flatten(0, 1), y.flatten(0, 1)

    def decoded(self, outputs: Any) -> Any:
        """Return the tokens that outputs [samples, n_out, width] stand for."""
        scale = self.program.scale
        if scale is None:
            return outputs.argmax(-1)
        return (outputs[..., 0] * scale).round().clip(0, scale).long()

    def answers(self, rows: Any) -> Any:
        """Echo rows [count, length]: integers [count, samples, n_out]."""
        states, batches = None, []
        for batch in range(self.program.batches):
            x, y = self.batch(rows, batch)
            outputs, after = self.forward(x, states)
            states = after if self.program.carries else None
            batches.append(self.decoded(outputs).reshape(len(rows), -1, y.shape[-1]))
        import torch

        return torch.cat(batches, dim=1)

    def loss(self, outputs: Any, y: Any) -> Any:
        """Return the mean loss."""
        from torch.nn import functional

        if self.program.scale is None:
            return functional.cross_entropy(outputs.flatten(0, 1), y.flatten())
        return functional.mse_loss(outputs, self._encoded(y))

    def _encoded(self, tokens: Any) -> Any:
        from torch.nn import functional

        if self.program.scale is None:
            return functional.one_hot(tokens, self.program.width).float()
        return tokens.unsqueeze(-1).float() / self.program.scale


class _Trainer:
    def __init__(self, program: NativeProgram) -> None:
        self._program = program
        self._network = _Network(program)

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
            for batch in range(self._program.batches):
                x, y = network.batch(epoch, batch)
                outputs, after = network.forward(x, states)
                loss = network.loss(outputs, y)
                self._adam.zero_grad()
                loss.backward()
                self._step()
                if self._program.carries:
                    states = [tuple(state.detach() for state in pair) for pair in after]
                losses.append(loss.detach())
                accuracies.append((network.decoded(outputs.detach()) == y).float().mean())
        self._program.traces += len(losses)
        shape = (len(rows), self._program.batches)
        # .cpu() waits for the device.
        seen = (torch.stack(kind).cpu().numpy().reshape(shape) for kind in (losses, accuracies))
        return next(seen), next(seen)

    def first_losses(self, rows: Integers) -> Floats:
        return self.train(rows)[0].reshape(-1)

    def weights(self) -> list[Floats]:
        return self._network.weights()

    def execution(self) -> dict[str, Any]:
        kernels = ["torch.nn.LSTM" for layer in self._program.layers if isinstance(layer, Lstm)]
        return {"engine": "an eager loop over batches", "jit": False, "lstm": kernels}

    def _step(self) -> None:
        from torch.nn.utils import clip_grad_norm_

        recipe = self._program.recipe
        if recipe.clip:
            clip_grad_norm_(self._network.parameters, recipe.clip)
        self._updates += 1
        for group in self._adam.param_groups:
            group["eps"] = keras_epsilon(self._updates)
        self._adam.step()
        if recipe.warmup or recipe.decay:
            self._schedule.step()


@hookimpl
def echobench_backends() -> list[Backend]:
    """Register the backend."""
    return [TorchNative()]
