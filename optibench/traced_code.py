"""What a model's own code asks of sizes and of data, answered in a way that can be traced.

Python wants plain numbers and plain truths where tracing has symbols: a size that is made plain is fixed in the export,
and a question of what the data hold ends it. Whether the answers are right for other batches, the second one shows.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import cycle
from types import FrameType
from typing import Any

Place = tuple[str, int]


class Hit(int):
    """A place that may be among those that are hit."""


class Hits:
    """What ``nonzero()`` finds in a vector: for a loop all places that there are, for all else what it finds."""

    def __init__(self, vector: Any) -> None:
        self.vector = vector

    def __iter__(self) -> Iterator[list[Hit]]:
        return iter([[Hit(place)] for place in range(self.vector.shape[0])])

    def __getattr__(self, name: str) -> Any:
        return getattr(_found(self), name)

    def __getitem__(self, which: Any) -> Any:
        return _found(self)[which]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*map(_found, args), **{name: _found(value) for name, value in (kwargs or {}).items()})


def _found(value: Any) -> Any:
    """Of such hits the tensor that it is."""
    import torch

    return torch.argwhere(value.vector) if isinstance(value, Hits) else value


@contextmanager
def traceable(module: Any, inputs: Mapping[str, Any]) -> Iterator[None]:
    """While it lasts, in the code of the model and for what is called from there:

    - ``len(tensor)`` is ``tensor.shape[0]``, ``int(size / 2)`` and ``torch.div(size, 2, rounding_mode=...)`` are sizes
      still (RT-DETR's batch, Moonshine's length, Longformer's windows);
    - ``tensor.squeeze()`` takes out the axes of one that are always so: a batch of one row is one still (PLBart's);
    - ``if mask.any():`` is what it is for ``inputs``, with which the model is run once beforehand (Longformer's);
    - ``for expert in hit.nonzero():`` goes through all that could be hit: what none was sent to, adds nothing (DBRX's);
    - an associative scan that the code has and forgoes for exports is made use of (Mamba's).
    """
    import torch
    from torch.overrides import TorchFunctionMode

    answers: dict[Place, list[bool]] = {}

    class Asked(TorchFunctionMode):  # type: ignore[misc]  # torch is not typed for mypy here
        """Keeps what is asked of data, place by place of the code."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            if isinstance(found, bool) and func in questions:
                answers.setdefault(_caller(), []).append(found)
            return found

    class Symbols(TorchFunctionMode):  # type: ignore[misc]  # the same
        """Answers it again, as often as it is asked; and keeps sizes sizes."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func in questions and args[0].dtype == torch.bool and (known := again.get(_caller())):
                return next(known)
            if func in places and args[0].ndim == 1 and isinstance(args[0].shape[0], int) and len(args) == 1:
                return Hits(args[0])
            if func is torch.Tensor.__getitem__ and isinstance(args[1], Hit) and args[1] >= args[0].shape[0]:
                args = (args[0], 0)  # of a place that nothing can hit, which is not there: any will do
            if func in squeezes and len(args) == 1 and not kwargs:
                sizes = args[0].shape
                args = (args[0], tuple(axis for axis, size in enumerate(sizes) if isinstance(size, int) and size == 1))
            if func is torch.div and "rounding_mode" in kwargs and isinstance(args[0], int | torch.SymInt):
                return args[0] // args[1]
            return func(*args, **kwargs)

    questions = (torch.Tensor.item, torch.Tensor.__bool__)
    squeezes = (torch.squeeze, torch.Tensor.squeeze)
    places = (torch.nonzero, torch.Tensor.nonzero)
    with torch.no_grad(), Asked():
        module(**copy.deepcopy(dict(inputs)))
    again = {place: cycle(found) for place, found in answers.items()}
    with _names(module), _scans(), Symbols():
        yield


def _caller() -> Place:
    """Where the model's code stands that called what a mode watches: beneath torch's own modes, if there are any."""
    frame: FrameType | None = sys._getframe(2)
    while frame and str(frame.f_globals.get("__name__")).partition(".")[0] == "torch":
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame else ("", 0)


@contextmanager
def _names(module: Any) -> Iterator[None]:
    """Other functions by Python's names, in the files of the model's code: found before its own, as any name of a file
    is."""
    import torch

    def size(value: Any) -> Any:
        return value.shape[0] if isinstance(value, torch.Tensor) and value.ndim else len(value)

    class AnyInt(type):
        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, int)

    class Whole(int, metaclass=AnyInt):
        def __new__(cls, value: Any = 0, *base: Any) -> Any:
            return torch.sym_int(value) if isinstance(value, torch.SymInt | torch.SymFloat) else int(value, *base)

    def exporting() -> bool:
        """Written out as a loop it would be as long as the text; as a scan it is a few steps over all of it."""
        return sys._getframe(1).f_locals.get("associative_scan") is None and torch.compiler.is_exporting()

    added, replaced = {"len": size, "int": Whole}, {"is_torchdynamo_exporting": exporting}
    names = {kind.__module__ for part in module.modules() for kind in type(part).__mro__}
    codes = [vars(sys.modules[name]) for name in names if name in sys.modules and not name.startswith("torch")]
    changed = [(code, name, None) for code in codes for name in added if name not in code]
    changed += [(code, name, code[name]) for code in codes for name in replaced if name in code]
    for code, name, own in changed:
        code[name] = replaced[name] if own else added[name]
    try:
        yield
    finally:
        for code, name, own in changed:
            if own:
                code[name] = own
            else:
                del code[name]


@contextmanager
def _scans() -> Iterator[None]:
    """torch's associative scan as steps over all places at once, each of which takes in what lies 1, 2, 4, ... before
    it (Hillis and Steele 1986): torch's own cannot be exported."""
    import torch

    code: Any = import_module("torch._higher_order_ops.associative_scan")  # its package has a function of that name

    def scanned(combine: Any, given: Sequence[Any], dim: int, **settings: Any) -> Any:
        length, step = given[0].shape[dim], 1
        while step < length:
            before, behind = ([one.narrow(dim, start, length - step) for one in given] for start in (0, step))
            first = [one.narrow(dim, 0, step) for one in given]
            given = [torch.cat(pair, dim) for pair in zip(first, combine(before, behind), strict=True)]
            step *= 2
        return tuple(given)

    own, code.associative_scan = code.associative_scan, scanned
    try:
        yield
    finally:
        code.associative_scan = own
