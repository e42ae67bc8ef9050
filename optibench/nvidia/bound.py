"""A session of ONNX Runtime that is measured on a GPU: what goes in and out stays on the device (IO binding).

A CUDA graph replays fixed addresses, and most providers keep one graph a session. So a feed that is called a second
time gets a session of its own that captures; all other calls, those of the evaluation among them, are plain ones.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from optibench.backends.onnxruntime import executed_from_profile, fed, profiled
from optibench.errors import first_line
from optibench.nvidia import providers
from optibench.nvidia.device import DEVICE_CALLS, Device
from optibench.nvidia.providers import CPU, Provider
from optibench.values import Executed

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]


class Feed:
    """One set of inputs on the device, bound to a session with its outputs."""

    def __init__(self, arrays: dict[str, numpy.ndarray]) -> None:
        self.arrays = arrays
        self.session: Any = None
        self.binding: Any = None
        self.called = False
        self.copy_in_seconds = 0.0


class BoundSession:
    """An opened graph. ``device`` is where outputs lie, by ONNX Runtime's name."""

    def __init__(
        self,
        provider: Provider,
        path: Path,
        threads: int,
        entries: Mapping[str, str],
        options: Mapping[str, str],
        device: str = "cuda",
    ) -> None:
        self.provider, self.path, self.threads, self.device = provider, path, threads, device
        self.entries, self.options = entries, {k: v for k, v in options.items() if k != provider.graphs}
        self.captures = options.get(provider.graphs, "1") != "0"
        self.no_graph = "" if self.captures else "turned off"
        self.session = self._opened()
        self.nodes = providers.nodes_by_provider(self.session)
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = [output.name for output in self.session.get_outputs()]

    def _opened(self, graph: bool = False, profile: str = "", stream: int = 0) -> Any:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.threads
        settings.log_severity_level = 3
        if profile:
            settings.enable_profiling, settings.profile_file_prefix = True, profile
        for key, value in self.entries.items():
            settings.add_session_config_entry(key, value)
        options = dict(self.options)
        if graph:
            options[self.provider.graphs] = "1"
        if stream:
            options[self.provider.stream] = str(stream)
        return providers.opened(self.provider, self.path, settings, options)

    def feed(self, inputs: Arrays) -> Feed:
        """Copies the inputs to where the graph takes each of them."""
        feed = Feed(fed(self.inputs, inputs))
        start = time.perf_counter()
        self._bind(feed, self.session)
        feed.copy_in_seconds = time.perf_counter() - start
        return feed

    def _bind(self, feed: Feed, session: Any, outputs: Any = None) -> None:
        """Binds inputs, and outputs: to tensors that are there, or to any on the device."""
        binding = session.io_binding()
        try:
            for name, array in feed.arrays.items():
                binding.bind_cpu_input(name, array)
            binding.synchronize_inputs()
        except Exception as error:
            raise providers.told(error) from error
        for number, name in enumerate(self.outputs):
            if outputs is None:
                binding.bind_output(name, self.device)
            else:
                binding.bind_ortvalue_output(name, outputs[number])
        feed.session, feed.binding = session, binding

    def call(self, feed: Feed) -> Feed:
        """One inference; returns when the device has finished."""
        if feed.called and self.captures and feed.session is self.session:
            self._capture(feed)
        try:
            feed.session.run_with_iobinding(feed.binding)
            feed.binding.synchronize_outputs()
        except Exception as error:
            raise providers.told(error) from error
        if not feed.called:  # from now on the outputs keep their place, and no call allocates
            feed.called = True
            for name, value in zip(self.outputs, feed.binding.get_outputs(), strict=True):
                feed.binding.bind_ortvalue_output(name, value)
        return feed

    def _capture(self, feed: Feed) -> None:
        """Binds the feed to a session of its own whose calls are replayed as a CUDA graph. Where none can be captured
        (a node on the CPU, control flow) it is called as before, and why is kept."""
        plain = feed.binding
        try:
            session = self._opened(graph=True)
            self._bind(feed, session, plain.get_outputs())
            session.run_with_iobinding(feed.binding)  # runs as often as it takes to capture
            feed.binding.synchronize_outputs()
        except Exception as error:  # ONNX Runtime's errors have no common kind
            self.captures, self.no_graph = False, first_line(error)
            feed.session, feed.binding = self.session, plain

    def arrays(self, outputs: Feed) -> dict[str, numpy.ndarray]:
        """The outputs, copied to the host, half precision as float32."""
        import numpy as np

        found = zip(self.outputs, outputs.binding.copy_outputs_to_cpu(), strict=True)
        return {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in found}

    def executed(self, inputs: Feed) -> Executed:
        """Kernels and their precisions by the profile of one run, nodes by the provider that each was given to. What
        runs within a TensorRT engine is no kernel of ONNX Runtime's, and its precision is not told."""
        kernels = profiled(lambda prefix: self._opened(profile=prefix), inputs.arrays)
        found = executed_from_profile(kernels, self.provider.name, self.threads)
        operations = dict(found.operations)
        # Kernels take fp32 either way; whether they multiply in TF32 is the provider's option, as it stands.
        options = self.session.get_provider_options().get(self.provider.name, {})
        if options.get("use_tf32") == "1" and "fp32" in operations:
            operations["tf32"] = operations.pop("fp32")
        start = time.perf_counter()
        self.arrays(inputs)
        detail = {
            **found.detail,
            "nodes_by_provider": self.nodes,
            "cuda_graph": self.no_graph or inputs.session is not self.session,
            "copy_in_seconds": inputs.copy_in_seconds,
            "copy_out_seconds": time.perf_counter() - start,
            **self._on_device(inputs),
        }
        elsewhere = self.nodes.get(CPU, 0) if self.provider.name != CPU else 0
        precision = "tf32" if found.precision == "fp32" and "tf32" in operations else found.precision
        return msgspec.structs.replace(
            found, operations=operations, precision=precision, fallback_nodes=elsewhere, detail=detail
        )

    def _on_device(self, feed: Feed) -> dict[str, Any]:
        """The device's own time of a call, by events on a stream of ours around calls that do not wait. A session of
        their own makes them, so that nothing of this is in the calls that are timed; it replays a graph if those do.
        Where it cannot be had, why."""
        replayed = feed.session is not self.session
        if why := providers.waits_within(self.provider, replayed):
            return {"no_device_seconds": why}
        import onnxruntime

        unwaited = onnxruntime.RunOptions()
        unwaited.add_run_config_entry(providers.NO_WAIT, "1")
        try:
            device, own = Device(), Feed(feed.arrays)
            self._bind(own, self._opened(graph=replayed, stream=device.stream), feed.binding.get_outputs())
            own.session.run_with_iobinding(own.binding)  # captures and allocates, and waits
            own.binding.synchronize_outputs()
            call = partial(own.session.run_with_iobinding, own.binding, unwaited)
            return {"device_seconds": statistics.median(device.seconds(call) for _ in range(DEVICE_CALLS))}
        except Exception as error:  # cuda-bindings are missing, memory ran out, ...: the other figures stand
            return {"no_device_seconds": first_line(error)}
