"""Initial weights, made in NumPy from the seed: the same bytes on every backend."""

from __future__ import annotations

import numpy as np

from echobench.core.sequences import Floats


def initial_weights(
    shapes: list[tuple[str, tuple[int, ...]]], rng: np.random.Generator
) -> list[Floats]:
    """Draw weights as Keras' layers would by default, variable by variable.

    Args:
        shapes: name and shape of each trainable variable, in the model's order.
        rng: the trial's generator for weights.

    Raises:
        ValueError: a variable whose name has no known initialisation.
    """
    return [_initial(name, shape, rng) for name, shape in shapes]


def _initial(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    if name == "kernel":
        return _glorot_uniform(shape, rng)
    if name == "recurrent_kernel":
        return _orthogonal(shape, rng)
    if name == "lstm_bias":
        return _unit_forget_bias(shape)
    if name in {"bias", "beta"}:
        return np.zeros(shape, np.float32)
    if name in {"gamma", "scale"}:
        return np.ones(shape, np.float32)
    if name == "embeddings":
        return rng.uniform(-0.05, 0.05, shape).astype(np.float32)
    raise ValueError(
        f"no initial values known for a variable named {name!r}; "
        "expected kernel, recurrent_kernel, bias, embeddings, gamma, beta or scale"
    )


def _glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Uniform in +-sqrt(6 / (fan in + fan out)); Glorot and Bengio 2010."""
    limit = np.sqrt(6.0 / (shape[0] + shape[1]))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Orthonormal rows, from the QR decomposition of a normal matrix; Saxe et al. 2014."""
    rows, columns = shape
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q *= np.sign(np.diag(r))
    return (q.T if rows < columns else q).astype(np.float32)


def _unit_forget_bias(shape: tuple[int, ...]) -> Floats:
    """Zeros, with ones for the forget gate; Jozefowicz et al. 2015."""
    bias = np.zeros(shape, np.float32)
    units = shape[0] // 4
    bias[units : 2 * units] = 1.0
    return bias
