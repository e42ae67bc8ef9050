"""The model as PyTorch runs it: the reference that every build is compared with, and what exporters trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optibench import plugins
from optibench.errors import CaseFailed, OptibenchError, first_line
from optibench.processors import load_tokenizer, tokenizer_digest
from optibench.tasks.base import auto_class, is_generative, kind_of
from optibench.values import Model


def load(model: Model, dtype: str = "float32") -> Any:
    """The model in evaluation mode with its weights as ``dtype``, by the class that its task asks for.

    Raises OptibenchError where the checkpoint lacks weights that the task's head needs: transformers would make
    them up at random, and every number after that would be nonsense.
    """
    import torch

    task = plugins.load("task", model.ref.task)
    try:
        loaded, info = _class_of(auto_class(task, model), model.config).from_pretrained(
            model.path,
            dtype=getattr(torch, dtype),
            trust_remote_code=model.trust_remote_code,
            use_safetensors=None if model.allow_pickle else True,
            output_loading_info=True,
        )
    except Exception as error:  # a checkpoint can be wrong in as many ways as there are readers of it
        if "Unrecognized configuration class" in str(error):
            raise OptibenchError(
                f"Models of the type {model.config.get('model_type')}, as {model.ref.id} is, have no form for "
                f"{model.ref.task} in transformers. Choose the --task that it was trained for."
            ) from error
        raise OptibenchError(f"The model {model.ref.id} cannot be loaded: {first_line(error)}") from error
    missing = set(info["missing_keys"])
    if task.AUTO_CLASS == "AutoModel":
        loaded, missing = _reading_part(loaded, missing)
        # A bare encoder's pooler is made for a head that is not there: no answer comes from it.
        missing = {name for name in missing if "pooler" not in name}
    lacking = sorted(missing)
    if lacking:
        raise OptibenchError(
            f"The checkpoint of {model.ref.id} has no weights for {', '.join(lacking[:3])}"
            f"{' and others' if len(lacking) > 3 else ''}, which {model.ref.task} needs. "
            "Fine-tune the model first, or choose the --task that it was trained for."
        )
    if kind_of(task) == "text":
        _know_padding(loaded, model)
    if not is_generative(task, model.config):
        _keep_nothing(loaded)
    return loaded.eval()


def _keep_nothing(module: Any) -> None:
    """No cache of keys and values where one pass is all: it costs time, and an export would give it as outputs. Parts
    may go by copies of the config (T5's decoder does)."""
    for part in module.modules():
        config: Any = getattr(part, "config", None)
        for one in (config, config.get_text_config()) if hasattr(config, "get_text_config") else ():
            if getattr(one, "use_cache", False):
                one.use_cache = False


def _class_of(name: str, config: Mapping[str, Any]) -> Any:
    """The transformers class of that name; or the checkpoint's own where that is an encoder taken out of a model that
    has a decoder beside, for which the automatic class looks."""
    import transformers

    own = str((config.get("architectures") or [""])[0])
    if name == "AutoModel" and own.endswith("EncoderModel") and hasattr(transformers, own):
        name = own
    return getattr(transformers, name)


def _know_padding(loaded: Any, model: Model) -> None:
    """Decoders that classify read their answer off the last token that is no padding, and refuse batches where their
    config names no padding token: they are told the one that the tokenizer pads with here, as their users do it."""
    config = loaded.config.get_text_config()
    if getattr(config, "pad_token_id", 0) is None and tokenizer_digest(model):
        config.pad_token_id = load_tokenizer(model).pad_token_id


def _reading_part(model: Any, missing: set[str]) -> tuple[Any, set[str]]:
    """Of a model that reads a text to write another (T5, BART), the encoder: what a text is made vectors by, with those
    of the missing weights that are its own (a checkpoint may hold the encoder alone). Of others, the whole."""
    if not getattr(model.config, "is_encoder_decoder", False):
        return model, missing
    encoder = model.get_encoder()
    own = {id(parameter) for parameter in encoder.parameters()}
    named = model.named_parameters(remove_duplicate=False)
    return encoder, missing & {name for name, parameter in named if id(parameter) in own}


def accepted(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Those inputs that the model's forward takes (a tokenizer may make more), as tensors."""
    import inspect

    import torch

    names = inspect.signature(model.forward).parameters
    taken = {name: torch.as_tensor(array) for name, array in inputs.items() if name in names}
    if not taken:
        raise CaseFailed(f"The model takes none of the inputs {', '.join(inputs)}.")
    return taken


def named_outputs(outputs: Any) -> dict[str, Any]:
    """The tensors of a model's output, by name, in order; caches and the like are left out."""
    import torch

    items = outputs.items() if isinstance(outputs, Mapping) else enumerate(outputs)
    return {str(name): value for name, value in items if isinstance(value, torch.Tensor)}


def tensors_in_order(outputs: Any) -> list[Any]:
    """The tensors of a model's output as an export gives them: those of a list or tuple inside one after the other."""
    import torch

    if isinstance(outputs, torch.Tensor):
        return [outputs]
    values = outputs.values() if isinstance(outputs, Mapping) else outputs
    inner = (value for value in values if isinstance(value, torch.Tensor | list | tuple))
    return [tensor for value in inner for tensor in tensors_in_order(value)]
