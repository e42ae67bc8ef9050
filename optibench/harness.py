"""Tasks of the lm-evaluation-harness (EleutherAI): found, looked through for code, asked what they ask of a model, and
scored by, from the answers that a build gave in its own process.

The harness runs where the parent is, and a build where it is timed: what the task asks goes one way as inputs, what
the build answers comes back, and the harness is handed a model that has those answers at hand.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from optibench import harness_code
from optibench.errors import NotInstalled, OptibenchError, first_line
from optibench.values import Model

PREFIX = "lm-eval:"
"""What a data set's name begins with that is a task of the harness, by its name there or the path of its YAML file."""
TASK = "lm-eval"
"""The task of a model that is judged so."""
SEED = 1234
"""Of examples that are shown before a question: the harness's own default."""
KINDS = {"word_perplexity": "weighted_perplexity", "byte_perplexity": "weighted_perplexity"} | {
    name: name for name in ("perplexity", "bits_per_byte")
}
"""Metric -> how the harness makes one number of the examples', where that is not their mean."""


def is_task(dataset: str | None) -> bool:
    """Whether a data set's name is a task of the harness."""
    return bool(dataset and dataset.startswith(PREFIX))


def judging(model: Model, dataset: str | None) -> Model:
    """The model as one that is judged by the harness, where the data set is a task of it. Error: it cannot be."""
    if not is_task(dataset) or model.ref.task == TASK:
        return model
    if model.ref.task != "text-generation":
        raise OptibenchError(
            f"{dataset} is asked of models that generate text, and {model.ref.id} is run for {model.ref.task}. "
            "Give a decoder, or other data."
        )
    return msgspec.structs.replace(model, ref=msgspec.structs.replace(model.ref, task=TASK))


def shown(dataset: str) -> str:
    """Its name without the folders that it lies in here."""
    name = dataset.removeprefix(PREFIX)
    return PREFIX + (Path(name).name if _is_file(name) else name)


def task_of(dataset: str, trusted: bool) -> Any:
    """The harness's own task. Errors: the harness is missing, it knows none of that name, the task wants code run that
    did not come with the harness (``trusted`` allows it), its data cannot be loaded."""
    name = dataset.removeprefix(PREFIX)
    if not name:
        raise OptibenchError(f"Which task? Give its name or its file: --dataset {PREFIX}piqa, {PREFIX}./mytask.yaml.")
    return _loaded(name, trusted)


@lru_cache(maxsize=4)
def _loaded(name: str, trusted: bool) -> Any:
    with _silence():
        try:
            from lm_eval import utils
            from lm_eval.tasks import TaskManager
        except ImportError as error:
            raise NotInstalled(
                f"{PREFIX}{name} is a task of the lm-evaluation-harness, which is not installed: "
                "pip install 'optibench[lm-eval]'"
            ) from error
        own = _is_file(name)
        manager = TaskManager(include_defaults=not own)
        file = Path(name).expanduser() if own else _file_of(name, manager)
        if not trusted:
            utils.env = harness_code.sandbox(utils.env)
            harness_code.refuse(PREFIX + name, file, own)
        try:
            found = manager.load(str(file) if own else name)["tasks"]
        except Exception as error:  # whatever a task's own description leads to: YAML, data sets, templates
            raise OptibenchError(f"The task {PREFIX}{name} cannot be loaded: {first_line(error)}.") from error
    if len(found) != 1:
        raise _group(name, sorted(found))
    return next(iter(found.values()))


def by_example(task: Any) -> list[str]:
    """The task's metrics that come of the examples one by one: their mean, or for what ``KINDS`` says another function
    of sums over them."""
    from lm_eval.api import metrics

    return [
        metric
        for metric, function in task.aggregation().items()
        if function is getattr(metrics, KINDS.get(metric, "mean"))
    ]


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _file_of(name: str, manager: Any) -> Path | None:
    """The YAML of a task that comes with the harness. Errors: there is none of that name; it is a group."""
    known = manager.task_index
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise OptibenchError(
            f"The lm-evaluation-harness has no task {name!r}.{hint} It has {len(known):,}: lm-eval ls tasks. "
            f"A task of your own is given by its file: {PREFIX}./mytask.yaml."
        )
    entry = known[name]
    if entry.kind.name in ("GROUP", "TAG"):
        inner = (entry.cfg or {}).get("task") or sorted(entry.tags)
        members = [one if isinstance(one, str) else str(one.get("task") or one.get("group")) for one in inner]
        raise _group(name, members)
    file: Path | None = entry.yaml_path
    return file


def _group(name: str, members: Sequence[str]) -> OptibenchError:
    some = ", ".join(members[:12]) + (", ..." if len(members) > 12 else "")
    return OptibenchError(f"{PREFIX}{name} is a group of several tasks. Give one task of it: {some or 'none'}.")


# What is asked


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The harness's bars and warnings belong to nobody here: what is wrong comes as an error."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def asked(task: Any, limit: int | None) -> list[list[Any]]:
    """The task's requests (harness Instances) by example, of the first ``limit`` of them. Error: of several kinds."""
    with _silence():
        _begin(task)
        try:
            task.build_all_requests(limit=limit, rank=0, world_size=1)
        except Exception as error:  # a template's, a task's own code's
            raise OptibenchError(f"The task {task.task_name} cannot be asked: {first_line(error)}.") from error
    found: dict[int, list[Any]] = {}
    for request in task.instances:
        found.setdefault(request.doc_id, []).append(request)
    kinds = sorted({request.request_type for request in task.instances})
    if len(kinds) != 1:
        raise OptibenchError(f"The task {task.task_name} asks in several ways ({', '.join(kinds)}): one is expected.")
    return list(found.values())


def _begin(task: Any) -> None:
    """As the harness's own simple_evaluate leaves a task."""
    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=SEED)


def digest(asked: Iterable[Sequence[Any]]) -> str:
    """Of the arguments of all requests, so that answers are only taken for what they answer."""
    return hashlib.sha256(json.dumps([list(args) for args in asked], default=str).encode()).hexdigest()


def tokens_of(pairs: Sequence[tuple[str, str]], tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    """Contexts and what follows them as tokens, cut apart as the harness cuts them (its TemplateLM)."""
    from lm_eval.api.instance import Instance

    requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
    found: list[tuple[list[int], list[int]]] = _encoder(tokenizer).loglikelihood(requests, disable_tqdm=True)
    return found


def windows_of(text: str, tokenizer: Any, longest: int) -> list[tuple[list[int], list[int]]]:
    """A whole text as windows of context and what is foretold, each token once, as the harness rolls over it."""
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    encoder = _encoder(tokenizer)
    rolled = get_rolling_token_windows(encoder.tok_encode(text), encoder.prefix_token_id, longest, 1)
    return [make_disjoint_window(window) for window in rolled]


def _encoder(tokenizer: Any) -> Any:
    """The harness's own way of cutting texts, on a tokenizer of transformers."""
    from lm_eval.api.model import TemplateLM

    class Encoder(TemplateLM):  # type: ignore[misc]
        @property
        def eot_token_id(self) -> int:
            ends = (tokenizer.bos_token_id, tokenizer.eos_token_id)
            if all(one is None for one in ends):
                raise OptibenchError(
                    "The model's tokenizer has no token that begins or ends a text, with which the harness begins "
                    "what has no context. Give the tokenizer a bos_token or an eos_token."
                )
            return int(next(one for one in ends if one is not None))

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
            how = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
            if add_special_tokens is None and tokenizer.bos_token and string.startswith(tokenizer.bos_token):
                how = {"add_special_tokens": False}
            ids: list[int] = tokenizer(string, **how)["input_ids"]
            return ids

        def _loglikelihood_tokens(self, requests: Any, **kwargs: Any) -> Any:
            return [(context, continuation) for _, context, continuation in requests]

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
            raise NotImplementedError

        generate_until = loglikelihood_rolling

    return Encoder()


# What it is worth


def judged(task: Any, limit: int | None, answers: Sequence[Any], asked_then: str, trusted: bool) -> dict[str, Any]:
    """What the harness's own ``evaluate`` makes of the answers to all requests, in their order: its results. Error: the
    task asks something else than when the answers were given (``asked_then`` is the digest of that)."""
    from lm_eval.api.model import LM
    from lm_eval.evaluator import evaluate

    def answered(self: Any, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Any]:
        once = [one for place, one in enumerate(requests) if not place or one is not requests[place - 1]]
        if digest(one.args for one in once) != asked_then:
            raise OptibenchError(
                f"The task {task.task_name} asks other things each time it is loaded, so builds cannot be compared "
                "by it."
            )
        found = iter(answers)
        given: list[Any] = []
        for place, one in enumerate(requests):  # a request that is repeated is greedily answered alike
            given.append(given[-1] if place and one is requests[place - 1] else next(found))
        return given

    methods = dict.fromkeys(("loglikelihood", "loglikelihood_rolling", "generate_until"), answered)
    build = type("Build", (LM,), methods)()
    with _silence():
        _begin(task)
        try:
            found: dict[str, Any] = evaluate(
                build,
                {"tasks": {task.task_name: task}, "groups": {}, "group_map": {}},
                limit=limit,
                bootstrap_iters=0,
                confirm_run_unsafe_code=trusted,
            )
        except OptibenchError:
            raise
        except Exception as error:  # a metric's, a filter's, a task's own code's
            raise OptibenchError(f"The task {task.task_name} cannot be judged: {first_line(error)}.") from error
    return found
