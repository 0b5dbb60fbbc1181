"""Run in a process of its own: compile functions as torch's engine does, and call them.

Prints JSON: the largest relative difference from what the function itself returns, for one that
changes a tensor in place after it was used, and one of which an output is an input.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from echobench_plugins.backends._inductor import compile_step


def in_place(x: Any, y: Any) -> list[Any]:
    changed = torch.full((3,), 2.0)
    changed[1] = y.sum()
    used = changed.unsqueeze(1) * x
    changed.zero_()
    return [used, changed]


def handed_on(x: Any, y: Any) -> list[Any]:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((leaf.exp() * y).sum(), [leaf])
    return [x - 0.1 * gradient, y]


def main() -> None:
    tensors = [torch.arange(12.0).reshape(3, 4) / 12.0, torch.ones(4)]
    found = {}
    with torch.no_grad():
        for function in (in_place, handed_on):
            step = compile_step(function, tensors)
            for _ in range(2):  # nothing it is given is changed
                pairs = zip(step([*tensors]), function(*tensors), strict=True)
                differences = [float(((a - b).abs() / b.abs().clamp(1.0)).max()) for a, b in pairs]
            found[function.__name__] = differences
    print(json.dumps(found))


if __name__ == "__main__":
    main()
