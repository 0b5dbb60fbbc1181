"""Inductor, torch's compiler, called with a graph that is traced already.

`torch.compile` traces a graph twice more (Dynamo, then AOT Autograd) before inductor gets it, and
checks all of its inputs at every call. Neither is needed for a graph of one shape that
holds forward pass, backward pass and update.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

Tensors = list[Any]
Step = Callable[[Tensors], Tensors]

OPTIONS: dict[str, Any] = {
    # Python between the kernels took a quarter of a small block's time.
    "cpp_wrapper": True,
    # Precompiling the headers takes longer than the one program that would use them.
    "cpp_cache_precompile_headers": False,
    "aot_inductor.enable_line_tables": False,
}
"""Options of inductor on the CPU that differ from its defaults; those it does not have are left
out."""
TRACED: dict[str, Any] = {"tracing_mode": "fake", "_allow_non_fake_inputs": True}
"""How `make_fx` traces: with shapes alone, but for the constants in a network of one's own."""
INSTRUCTIONS = {"AVX512": "VecAVX512", "AVX2": "VecAVX2"}
"""Inductor's class for each of the instruction sets of x86 that torch has kernels for."""


def options() -> dict[str, Any]:
    """Return `OPTIONS`, as far as this version of inductor has them."""
    from torch._inductor import config

    known = config.get_config_copy()
    return {name: value for name, value in OPTIONS.items() if name in known}


def compile_step(step: Callable[..., Tensors], example: Tensors) -> Step:
    """Return a compiled function for the CPU: it takes and returns lists of tensors.

    Args:
        step: takes the tensors one by one, and may differentiate inside.
        example: tensors of the only shapes that the function will be called with.
    """
    import torch
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.virtualized import V
    from torch.fx.experimental.proxy_tensor import make_fx

    trace = functools.partial(make_fx, decomposition_table=select_decomp_table(), **TRACED)
    graph = trace(step)(*example)
    if any(map(_mutates, graph.graph.nodes)):  # inductor expects a graph that changes no tensor
        graph = trace(torch.func.functionalize(graph))(*example)
    nodes = [*graph.graph.nodes]
    nodes[-1].meta["user_visible_output_idxs"] = [*range(len(nodes[-1].args[0]))]
    inputs = [node.meta["val"] for node in nodes if node.op == "placeholder"]
    mode = inputs[0].fake_mode
    tracing = torch._guards.tracing(torch._guards.TracingContext(mode))
    with config.patch(options()), V.set_fake_mode(mode), tracing, _instructions():
        compiled: Step = compile_fx_inner(graph, inputs, cpp_wrapper=True, is_inference=True)
    return compiled


def _mutates(node: Any) -> bool:
    """Return whether a node of a graph changes one of its inputs."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


@contextmanager
def _instructions() -> Iterator[None]:
    """Have inductor compile for the processor's vector instructions that torch itself uses.

    By itself it compiles up to six small programs to see which ones the compiler knows. Torch
    has looked at the processor already, and a compiler of C++20 knows them all.
    """
    import torch
    from torch._inductor import cpu_vec_isa

    name = INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), "")
    found = getattr(cpu_vec_isa, name, None)
    if found is None:  # another architecture: inductor looks itself
        yield
        return
    known = type(name, (found,), {"__bool__": lambda _: True})()  # its truth is what is compiled
    with mock.patch.object(cpu_vec_isa, "valid_vec_isa_list", return_value=[known]):
        yield
