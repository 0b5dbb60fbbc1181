"""The networks' forward pass in plain NumPy, float64: independent of every framework."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def lstm(x: Array, weights: list[Array], h: Array, c: Array) -> tuple[Array, Array, Array]:
    """Run x [samples, steps, features]; return all outputs and the last h and c."""
    kernel, recurrent, bias = weights
    outputs = []
    for step in range(x.shape[1]):
        z = x[:, step] @ kernel + h @ recurrent + bias
        i, f, g, o = np.split(z, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1), h, c


def softmax(x: Array, kernel: Array, bias: Array) -> Array:
    z = x @ kernel + bias
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    probabilities: Array = e / e.sum(axis=-1, keepdims=True)
    return probabilities


def whole(weights: list[Array], x: Array, batch: int) -> Array:
    """Run one sequence's samples in batches, the state carried from batch to batch."""
    units = weights[1].shape[0]
    h = c = np.zeros((batch, units))
    answers = []
    for start in range(0, len(x), batch):
        y, h, c = lstm(x[start : start + batch], weights[:3], h, c)
        answers.append(softmax(y, *weights[3:]))
    return np.concatenate(answers)


def partial(weights: list[Array], x: Array, n_out: int) -> Array:
    """Run the encoder, repeat its last output, run the decoder."""
    units = weights[1].shape[0]
    zero = np.zeros((len(x), units))
    _, h, _ = lstm(x, weights[:3], zero, zero)
    repeated = np.repeat(h[:, np.newaxis], n_out, axis=1)
    y, _, _ = lstm(repeated, weights[3:6], zero, zero)
    return softmax(y, *weights[6:])


def cross_entropy(probabilities: Array, targets: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    picked = np.take_along_axis(probabilities, targets[..., np.newaxis], axis=-1)
    return float(-np.log(picked).mean())


def _sigmoid(z: Array) -> Array:
    s: Array = 1.0 / (1.0 + np.exp(-z))
    return s


def masked_lstm(x: Array, weights: list[Array], present: Any) -> tuple[Array, Array]:
    """Run x from a zero state, skipping steps; return all outputs and the last one."""
    h = c = np.zeros((len(x), weights[1].shape[0]))
    outputs = []
    for step in range(x.shape[1]):
        _, new_h, new_c = lstm(x[:, step : step + 1], weights, h, c)
        there = present[:, step, np.newaxis]
        h, c = np.where(there, new_h, h), np.where(there, new_c, c)
        outputs.append(h)
    return np.stack(outputs, axis=1), h


def attention(weights: list[Array], x: Array, n_out: int, present: Any) -> Array:
    """Run encoder and decoder, and let each decoder step look at the encoder's steps."""
    memory, h = masked_lstm(x, weights[:3], present)
    repeated = np.repeat(h[:, np.newaxis], n_out, axis=1)
    decoded, _ = masked_lstm(repeated, weights[3:6], np.ones(repeated.shape[:2], bool))
    scores = np.einsum("sqd,svd->sqv", decoded, memory)
    scores = np.where(present[:, np.newaxis], scores, -np.inf)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    context = np.einsum("sqv,svd->sqd", shares, memory)
    return softmax(np.concatenate([decoded, context], axis=-1), *weights[6:])


def one_vector(weights: list[Array], x: Array, n_out: int) -> Array:
    """Run an LSTM and read all answers off its last state."""
    zero = np.zeros((len(x), weights[1].shape[0]))
    _, h, _ = lstm(x, weights[:3], zero, zero)
    z = (h @ weights[3] + weights[4]).reshape(len(x), n_out, -1)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    probabilities: Array = e / e.sum(axis=-1, keepdims=True)
    return probabilities
