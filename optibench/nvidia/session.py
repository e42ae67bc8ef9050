"""An opened engine that is measured: buffers stay on the device, calls run on a stream of our own, copies are apart.

Polygraphy's runner copies in and out and synchronizes in every call: fine for accuracy, not for latency. Here ``call``
is what a server's is: enqueue (as a CUDA graph from the second call of a feed on) and wait for the stream.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.errors import CaseFailed, first_line
from optibench.nvidia.bindings import Flavour, bindings, logger
from optibench.nvidia.device import DEVICE_CALLS, Buffer, Device, Graph, bytes_wanted, memory, out_of_memory
from optibench.nvidia.inspector import executed_from_json
from optibench.values import Executed

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]
    Zeros = Callable[[str, Arrays], numpy.ndarray]


class Feed:
    """One set of inputs on the device with room for its outputs; the captured graph of its call."""

    def __init__(self, profile: int, shapes: dict[str, tuple[int, ...]]) -> None:
        self.profile, self.shapes = profile, shapes
        self.buffers: dict[str, Buffer] = {}
        self.outputs: dict[str, numpy.ndarray] = {}
        self.graph: Graph | None = None
        self.called = False
        self.copy_in_seconds = 0.0


class EngineSession:
    """A deserialized engine with one execution context."""

    def __init__(self, flavour: Flavour, path: Path, zeros_for: Zeros, cuda_graph: bool = True) -> None:
        trt = bindings(flavour)
        self.flavour, self.zeros_for, self.captures = flavour, zeros_for, cuda_graph
        self.no_graph = "" if cuda_graph else "turned off"
        self.log = logger(flavour)
        self.device = Device()
        self.runtime = trt.Runtime(self.log)
        self.engine = self.runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            self._raise_if_short(path.stat().st_size, "the engine")
            raise CaseFailed(f"{flavour.title} cannot open this engine{self._words()}")
        self.context = self._context()
        self.current: Feed | None = None
        names = [self.engine.get_tensor_name(number) for number in range(self.engine.num_io_tensors)]
        self.inputs = [name for name in names if self.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self.outputs = [name for name in names if name not in self.inputs]
        on_host = [n for n in names if self.engine.get_tensor_location(n) != trt.TensorLocation.DEVICE]
        if on_host:
            raise CaseFailed(f"The engine reads {on_host[0]!r} on the host, as a shape; such graphs are not driven")

    def _context(self) -> Any:
        trt = bindings(self.flavour)
        try:
            if self.flavour.ahead_of_time:
                # Its compiler makes kernels for a new shape in the background by default: then the first calls are
                # slow ones, and a median depends on when it finished. Eager: done within the first call.
                settings = self.engine.create_runtime_config()
                kinds = trt.DynamicShapesKernelSpecializationStrategy
                settings.dynamic_shapes_kernel_specialization_strategy = kinds.EAGER
                context = self.engine.create_execution_context(settings)
            else:
                context = self.engine.create_execution_context()
        except RuntimeError as error:
            raise CaseFailed(f"{self.flavour.title} cannot run this engine: {first_line(error)}") from error
        if context is None:
            self._raise_if_short(self.engine.device_memory_size_v2, "the engine's working memory")
            raise CaseFailed(f"{self.flavour.title} cannot run this engine{self._words()}")
        return context

    def feed(self, inputs: Arrays) -> Feed:
        """Copies the inputs to the device and makes room for the outputs. Raises CaseFailed for a shape that no
        profile of the engine takes."""
        arrays = {name: inputs[name] if name in inputs else self.zeros_for(name, inputs) for name in self.inputs}
        shapes = {name: tuple(int(size) for size in array.shape) for name, array in arrays.items()}
        feed = Feed(self._profile_for(shapes), shapes)
        start = time.perf_counter()
        for name, array in arrays.items():
            host = _contiguous(array, self._kind(name))
            feed.buffers[name] = self.device.buffer(host.nbytes, f"the input {name!r}")
            self.device.copy_in(feed.buffers[name], host)
        feed.copy_in_seconds = time.perf_counter() - start
        self._select(feed)
        return feed

    def _profile_for(self, shapes: dict[str, tuple[int, ...]]) -> int:
        """The profile made for these very shapes, else the first that takes them."""
        fitting: list[tuple[int, int]] = []
        for number in range(self.engine.num_optimization_profiles):
            ranges = {name: self._range(name, number) for name in shapes}
            wrong = [name for name, shape in shapes.items() if not _within(shape, ranges[name])]
            if not wrong:
                away = sum(shape != tuple(ranges[name][1]) for name, shape in shapes.items())
                fitting.append((away, number))
        if not fitting:
            name = wrong[0]
            least, _, most = self._range(name, 0)
            raise CaseFailed(
                f"The input {name!r} of shape {shapes[name]} lies outside the engine's profile, {tuple(least)} to "
                f"{tuple(most)}; build one for that shape (--batch, --length)"
            )
        return min(fitting)[1]

    def _range(self, name: str, profile: int) -> list[tuple[int, ...]]:
        return [tuple(dims) for dims in self.engine.get_tensor_profile_shape(name, profile)]

    def _select(self, feed: Feed) -> None:
        """Makes the context the feed's: profile, shapes, then addresses, once they are known."""
        if self.context.active_optimization_profile != feed.profile:
            if not self.context.set_optimization_profile_async(feed.profile, self.device.stream):
                raise CaseFailed(f"{self.flavour.title} does not take profile {feed.profile}{self._words()}")
            self.device.wait()
        for name, shape in feed.shapes.items():
            if not self.context.set_input_shape(name, shape):
                raise CaseFailed(f"{self.flavour.title} does not take {name!r} of shape {shape}{self._words()}")
        if lacking := self.context.infer_shapes():
            raise CaseFailed(f"{self.flavour.title} does not know the shape of {', '.join(lacking)}{self._words()}")
        for name in self.outputs:
            if name not in feed.outputs:
                feed.outputs[name] = self._room(name)
                feed.buffers[name] = self.device.buffer(feed.outputs[name].nbytes, f"the output {name!r}")
        for name, buffer in feed.buffers.items():
            if not self.context.set_tensor_address(name, buffer.pointer):
                raise CaseFailed(f"{self.flavour.title} does not take an address for {name!r}{self._words()}")
        self.current = feed

    def _room(self, name: str) -> numpy.ndarray:
        import numpy as np

        shape = tuple(self.context.get_tensor_shape(name))
        if -1 in shape:
            raise CaseFailed(f"The size of the output {name!r} depends on the data; such graphs are not driven")
        return np.empty(shape, self._kind(name))

    def _kind(self, name: str) -> Any:
        """numpy's element type. bf16, which numpy lacks, travels as uint16."""
        trt = bindings(self.flavour)
        kind = self.engine.get_tensor_dtype(name)
        return "uint16" if kind == trt.DataType.BF16 else trt.nptype(kind)

    def call(self, feed: Feed) -> Feed:
        """One inference; returns when the device has finished. A feed's second call in a row captures it as a CUDA
        graph: the first after a change of shape sets up what may not be captured."""
        if feed.graph is not None:
            feed.graph.launch()
        elif feed.called and self.current is feed and self.captures:
            self._capture(feed)
        else:
            self._enqueue(feed)
        self.device.wait()
        feed.called = True
        return feed

    def _enqueue(self, feed: Feed) -> None:
        if self.current is not feed:
            self._select(feed)
        if not self.context.execute_async_v3(self.device.stream):
            self._raise_if_short(0, "this call")
            raise CaseFailed(f"{self.flavour.title} did not run{self._words()}")

    def _capture(self, feed: Feed) -> None:
        """Captures the call and makes it; a graph that cannot be captured is called as before, and said."""
        try:
            feed.graph = self.device.graph(lambda: self._enqueue(feed))
            feed.graph.launch()
        except CaseFailed as error:
            self.captures, self.no_graph = False, first_line(error)
            self.log.errors.clear()
            self._enqueue(feed)

    def arrays(self, outputs: Feed) -> dict[str, numpy.ndarray]:
        """The outputs, copied to the host, half precision as float32."""
        import numpy as np

        trt = bindings(self.flavour)
        found = {}
        for name in self.outputs:
            self.device.copy_out(outputs.outputs[name], outputs.buffers[name])
            array = outputs.outputs[name]
            if self.engine.get_tensor_dtype(name) == trt.DataType.BF16:
                array = (array.astype(np.uint32) << 16).view(np.float32)
            found[name] = array.astype(np.float32) if array.dtype == np.float16 else array.copy()
        return found

    def executed(self, inputs: Feed) -> Executed:
        """Layers and precisions by the engine's inspector; beside them the device's own time and the copies'."""
        trt = bindings(self.flavour)
        inspector = self.engine.create_engine_inspector()
        inspector.execution_context = self.context
        device = [self.device.seconds(lambda: self._replay(inputs)) for _ in range(DEVICE_CALLS)]
        start = time.perf_counter()
        self.arrays(inputs)
        free, total = memory() or (0, 0)
        return executed_from_json(
            inspector.get_engine_information(trt.LayerInformationFormat.JSON),
            f"{self.flavour.title} {trt.__version__}",
            {
                "device_seconds": statistics.median(device),
                "copy_in_seconds": inputs.copy_in_seconds,
                "copy_out_seconds": time.perf_counter() - start,
                "cuda_graph": self.no_graph or True,
                "engine_memory_bytes": self.engine.device_memory_size_v2,
                "device_memory_used_bytes": total - free,
            },
        )

    def _replay(self, feed: Feed) -> None:
        if feed.graph is not None:
            feed.graph.launch()
        else:
            self._enqueue(feed)

    def _raise_if_short(self, least: int, what: str) -> None:
        """Raises CaseFailed if TensorRT logged that device memory ran out; ``what`` takes ``least`` bytes or more."""
        if (asked := bytes_wanted(self.log.errors)) is not None:
            raise CaseFailed(out_of_memory(max(asked, least), what, memory()))

    def _words(self) -> str:
        return f": {first_line(self.log.errors[-1])}" if self.log.errors else ", and does not say why"


def _within(shape: tuple[int, ...], bounds: list[tuple[int, ...]]) -> bool:
    least, _, most = bounds
    return len(shape) == len(least) and all(
        low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
    )


def _contiguous(array: numpy.ndarray, kind: Any) -> numpy.ndarray:
    import numpy as np

    if kind == "uint16" and np.issubdtype(array.dtype, np.floating):  # bf16: the upper half of a float32, rounded
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.ascontiguousarray(array, kind)
