"""From a checkpoint to a graph (ONNX, OpenVINO), by transformers' own exporters, and the check that it is dynamic.

What it is traced with is tracing.py's. Each export is run on a second shape against PyTorch before it is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import decoders, encoder_decoder, fixed_length, onnx_attention, plugins, tracing
from optibench.arrays import batches_of
from optibench.cache import Cache, Entry
from optibench.errors import CaseFailed, Unsupported, first_line
from optibench.generation_rules import PROMPT
from optibench.host import package_versions
from optibench.openvino_graphs import means_by_themselves, whole_divisions
from optibench.tasks.base import is_generative, kind_of
from optibench.traced_code import traceable
from optibench.values import Build, Model, digest_of

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]
    Run = Callable[[Path, Arrays], Sequence[numpy.ndarray]]

TOLERANCE = 1e-2
"""Largest difference to PyTorch, relative to the outputs' scale. An export that is right lies near 1e-6; one with a
fixed length or a lost mask is off by whole units. Sums in another order may reach 1e-4 in deep models."""

SECOND_LENGTH = 300
"""Tokens of the check: more than the chunks that models cut texts into. A loop over chunks is traced as often as the
first batch has chunks, and what stands in later ones is lost in silence (Qwen3.5's, of 64 tokens)."""
SHORT_LENGTH = 21
"""Of another check: what is right for long texts alone (BigBird's blocks) is wrong here."""

_loaded: dict[str, Any] = {}  # the builder process serves one model: it is loaded once, whatever is built from it
_failed: dict[str, str] = {}  # why, by the digest of the recipe


def recipe(build: Build, form: str) -> dict[str, Any]:
    """All that decides an export: its key in the cache. A finished graph is what it is."""
    if build.model.is_graph:
        return {"kind": "given", "revision": build.model.ref.revision}
    tools = ("torch", "transformers", "onnx", "onnxscript") if form == "onnx" else ("torch", "transformers", "openvino")
    # Which axes of pictures and sounds vary is told by the calibration samples, so these belong to the key.
    seen: dict[str, Any] = {} if _reads_text(build.model) else {"samples": build.calibration_sha256}
    if _generates(build.model):
        seen["decoder"] = decoders.VERSION
        if len(_ways(build.model, form)) > 1:
            seen["attention"] = onnx_attention.VERSION
    return {
        "kind": "export",
        "version": 7 if form == "openvino" else 6,
        "form": form,
        "model": build.model.ref.revision,
        "weights": build.model.ref.weights_sha256,
        "task": build.model.ref.task,
        "tools": package_versions(tools),
        **seen,
    }


def _reads_text(model: Model) -> bool:
    return kind_of(plugins.load("task", model.ref.task)) == "text"


def _generates(model: Model) -> bool:
    return is_generative(plugins.load("task", model.ref.task), model.config)


def _ways(model: Model, form: str) -> tuple[onnx_attention.Way, ...]:
    """The ways to make its graph, tried in turn. A decoder's ONNX graph is ONNX Runtime's alone, and may be made of its
    own operators; one that reads texts is of one length where it cannot be of any."""
    if _generates(model):
        return onnx_attention.WAYS if form == "onnx" and not encoder_decoder.is_one(model) else (onnx_attention.Way(),)
    free = onnx_attention.Way()
    return (free, free._replace(one_length=True)) if _reads_text(model) else (free,)


def exported(build: Build, form: str, cache: Cache, run: Run) -> Entry:
    """The export of the build's model as ``onnx`` or ``openvino``; ``run(file, inputs)`` runs it for the check.
    One that has failed in this process fails at once when the next precision asks for it."""
    own = recipe(build, form)
    if reason := _failed.get(digest_of(own)):
        raise CaseFailed(reason)

    def make(folder: Path) -> dict[str, Any]:
        start = time.perf_counter()
        reasons = []
        for way in _ways(build.model, form):
            try:
                export(build.model, form, folder, samples_of(build), way)
                check_second_shape(build, form, folder, run)
            except CaseFailed as error:
                reasons.append(str(error))
                for file in folder.iterdir():
                    file.unlink()
                continue
            longest = {"longest": fixed_length.length_for(build.model)} if way.one_length else {}
            return {"seconds": time.perf_counter() - start, **longest}
        # Of a decoder's ways the last is the plainest; of a text's the first is what would serve it best.
        _failed[digest_of(own)] = reasons[-1 if _generates(build.model) else 0]
        raise CaseFailed(_failed[digest_of(own)])

    return cache.get_or_make("export", own, make)


def samples_of(build: Build) -> list[dict[str, numpy.ndarray]]:
    """The calibration samples of the build's inputs, one row each."""
    return list(batches_of(Path(build.inputs) / "calibration.npz"))


def tensors(sample: Arrays) -> dict[str, Any]:
    """A sample as transformers' quantizers take it."""
    import torch

    return {name: torch.as_tensor(array) for name, array in sample.items()}


def torch_model(model: Model) -> Any:
    """The reference in fp32, loaded once a process. Weights that it computes of others at each call (weight norm) are
    made plain weights of the same values, as quantizers and runtimes want them."""
    from torch.nn.utils import parametrize

    from optibench.checkpoint import load

    if model.path not in _loaded:
        _loaded.clear()
        _loaded[model.path] = load(model)
        for module in list(_loaded[model.path].modules()):
            for name in list(module.parametrizations) if parametrize.is_parametrized(module) else ():
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return _loaded[model.path]


def export(
    model: Model, form: str, folder: Path, samples: Sequence[Arrays], way: onnx_attention.Way = onnx_attention.WAYS[-1]
) -> None:
    """Writes the graph, its manifest and its config into ``folder``, as ``ExportedModel.from_pretrained`` reads them.

    Raises CaseFailed with the exporter's own reason.
    """
    import torch

    from optibench.checkpoint import accepted

    module = torch_model(model)
    free: dict[str, Any] | None
    try:
        if _generates(model) and encoder_decoder.is_one(model):
            return encoder_decoder.write(module, form, folder, samples)
        if _generates(model):
            module, traced, free = decoders.traced(module, samples)
        else:
            traced = accepted(module, tracing.batch(samples, rows=2))
            free = tracing.free_axes(samples, traced)
        # Imported here, since an exporter that is not installed is a reason like any other.
        if form == "onnx":
            from transformers.exporters import OnnxConfig, OnnxExporter

            tracing.exact_zeros()
            exporter, config = OnnxExporter(), OnnxConfig(dynamic=True, dynamic_shapes=free, ort_fusions=way.fusions)
        else:
            from transformers.exporters import OpenVINOConfig, OpenVINOExporter

            exporter, config = OpenVINOExporter(), OpenVINOConfig(dynamic=True, dynamic_shapes=free)
        attention = onnx_attention.own_attention() if way.own_attention else nullcontext()
        length = fixed_length.length_for(model)
        filled = fixed_length.filled_up(module, traced, length) if way.one_length else nullcontext()
        another = way != _ways(model, form)[-1] and not _generates(model)
        tried = _tried_early(module, form, _second_batch(model, samples, SECOND_LENGTH)) if another else nullcontext()
        with torch.no_grad(), filled, tried, traceable(module, traced), attention:
            made = exporter.export(module, dict(traced), config)
        if way.own_attention:
            onnx_attention.write_in_place(made.program)
        if form == "openvino":
            whole_divisions(made.program)
            means_by_themselves(made.program)
        made.save_pretrained(folder)
    except ImportError as error:
        raise not_installed(error, form) from error
    except CaseFailed:
        raise
    except Exception as error:  # tracing runs the model's code and the exporter's: anything can come out
        raise CaseFailed(f"The {form} exporter cannot export this model: {first_line(error)}") from error


@contextmanager
def _tried_early(module: Any, form: str, batch: Arrays) -> Iterator[None]:
    """What torch.export traces is run on the batch before it is translated, which takes several times as long."""
    import torch

    from optibench.checkpoint import accepted, tensors_in_order

    own, given, wanted = torch.export.export, accepted(module, batch), _right_answers(module, batch)
    what = f"What is traced for the {form} export"

    def traced(*args: Any, **settings: Any) -> Any:
        program = own(*args, **settings)
        run = program.module(check_guards=False)
        run._forward_pre_hooks.clear()  # they refuse sizes that the graph may well take
        try:
            found = [output.float().numpy() for output in tensors_in_order(run(**given))]
        except Exception as error:
            raise CaseFailed(f"{what} runs only on the shape it was traced with: {first_line(error)}") from error
        _compare(what, found, wanted, batch)
        return program

    torch.export.export = traced
    try:
        yield
    finally:
        torch.export.export = own


def not_installed(error: ImportError, form: str) -> Unsupported:
    """A library that building needs and that is not there, with the pip line that mends it."""
    extra = "onnxruntime" if form == "onnx" else form
    return Unsupported(f"{error.name or first_line(error)} is not installed: pip install 'optibench[{extra}]'")


def graph_file(folder: Path, form: str) -> Path:
    """The graph's file in a folder that ``export`` wrote."""
    pattern = "*.xml" if form == "openvino" else f"*.{form}"
    return next(iter(sorted(folder.glob(pattern))))


def second_batch(build: Build, length: int) -> dict[str, numpy.ndarray]:
    """Real samples in another shape than an export is traced with, of about this length."""
    return _second_batch(build.model, samples_of(build), length)


def _second_batch(model: Model, samples: Sequence[Arrays], length: int) -> dict[str, numpy.ndarray]:
    limit = model.max_length or 512
    if _generates(model) and encoder_decoder.is_one(model):
        return encoder_decoder.second_batch(samples, min(length, limit - 1))
    if _generates(model):
        return decoders.second_batch(samples, length, limit)
    return tracing.batch(samples, rows=3, length=min(length, limit - 1))


def _right_answers(module: Any, batch: Arrays) -> list[numpy.ndarray]:
    """What PyTorch answers to a second batch."""
    import torch

    from optibench.checkpoint import accepted, tensors_in_order

    if PROMPT in batch:
        return encoder_decoder.right_answers(module, batch)
    if decoders.FOLLOWING in batch:
        return decoders.right_answers(module, batch)
    with torch.no_grad():
        return [o.float().numpy() for o in tensors_in_order(module(**accepted(module, batch)))]


def check_second_shape(build: Build, form: str, folder: Path, run: Run) -> None:
    """Runs the export on other rows and other lengths than it was traced with, against PyTorch.

    Exporters fix a size in silence, and OpenVINO then answers with an empty output: only this shows it.
    """
    both = _reads_text(build.model) and not _generates(build.model)
    for length in (SECOND_LENGTH, SHORT_LENGTH) if both else (SECOND_LENGTH,):
        _check(build, form, folder, run, second_batch(build, length))


def _check(build: Build, form: str, folder: Path, run: Run, batch: Arrays) -> None:
    wanted = _right_answers(torch_model(build.model), batch)
    try:
        found = run(graph_file(folder, form), batch)
    except Exception as error:
        raise CaseFailed(f"The {form} export runs only on the shape it was traced with: {first_line(error)}") from error
    _compare(f"The {form} export", found, wanted, batch)


def _compare(what: str, found: Sequence[numpy.ndarray], wanted: Sequence[numpy.ndarray], batch: Arrays) -> None:
    import numpy as np

    for number, (mine, theirs) in enumerate(zip(found, wanted, strict=False)):
        if mine.shape != theirs.shape:
            raise CaseFailed(
                f"{what} does not follow the input's shape: output {number} is {mine.shape} where PyTorch gives "
                f"{theirs.shape}, so the model's code fixes a size while it is traced."
            )
        worst = float(np.abs(mine - theirs).max(initial=0.0))
        scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=1.0))
        if not worst <= TOLERANCE * scale:
            mine, theirs = (tracing.without_padding(output, batch) for output in (mine, theirs))
            worst = float(np.abs(mine - theirs).max(initial=0.0))
        if not worst <= TOLERANCE * scale:
            raise CaseFailed(
                f"{what} gives other results than PyTorch (output {number} differs by {worst:.3g} "
                f"at a scale of {scale:.3g})."
            )
