"""Any task of the lm-evaluation-harness (``--dataset lm-eval:piqa``, ``lm-eval:./mytask.yaml``): what it asks is
answered by the very session that is timed, and what the answers are worth is the harness's own to say (harness.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench import harness
from optibench.errors import OptibenchError
from optibench.tasks import lm_metrics, text_generation, written
from optibench.tasks.base import Encoded, first_output

if TYPE_CHECKING:
    import numpy

    from optibench.backends.base import GenerativeSession
    from optibench.values import Model, Score, Workload

AUTO_CLASS = text_generation.AUTO_CLASS
COLUMNS: dict[str, tuple[str, ...]] = {"asked": ("asked",)}
HAS_TOP1 = False
GENERATIVE = True
LONGEST = 2048
"""Positions where the model names none: the harness's own default."""
NEW_TOKENS = 256
"""Tokens that an answer has at most where the task does not say: the harness's own default."""
TARGETS, COUNT = "_targets", "_count"
"""The tokens that are foretold by an input's last places, and how many."""
WRITING = "_writing"
"""How answers are written, as the bytes of a JSON object: most, ends (tokens), runs (of tokens)."""
METRICS: Mapping[str, Any] = lm_metrics.ByName()


def rows(dataset: str | None, limit: int | None, trusted: bool) -> list[dict[str, Any]]:
    """An example a row: what the harness asks of it."""
    if dataset is None or not harness.is_task(dataset):
        raise OptibenchError(
            "The task lm-eval is judged by a task of the lm-evaluation-harness: expected --dataset "
            f"{harness.PREFIX}NAME or {harness.PREFIX}./mytask.yaml, got {dataset or 'none'}."
        )
    task = harness.task_of(dataset, trusted)
    if not harness.by_example(task):
        raise OptibenchError(
            f"{dataset} is scored by {', '.join(task.aggregation())}, of which no example has its own share: builds "
            "are compared example by example. Give a task with a metric that is a mean over examples."
        )
    return [
        {"request": requests[0].request_type, "asked": [list(one.args) for one in requests]}
        for requests in harness.asked(task, limit)
    ]


def name_of(dataset: str) -> str:
    """The data set's name on reports."""
    return harness.shown(dataset)


# What is asked of a build


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """An input a request; of a text that is rolled over, a window. Labels: none are needed but their number."""
    kind = rows[0]["request"]
    everything = [args for row in rows for args in row["asked"]]
    truths: dict[str, Any] = {
        "kind": kind,
        "requests": [len(row["asked"]) for row in rows],
        "asked": harness.digest(everything),
    }
    labels = [0.0] * len(rows)
    longest = model.max_length or LONGEST
    if kind == "generate_until":
        inputs, how = _to_be_written(everything, tokenizer, longest)
        truths |= {"spelt": written.speller(tokenizer), "until": how.pop("until")}
        return Encoded(inputs=inputs, labels=labels, truths=truths, shared={WRITING: _bytes_of(how)})
    if kind == "loglikelihood_rolling":
        windows = [harness.windows_of(text, tokenizer, longest) for (text,) in everything]
        truths["windows"] = [len(some) for some in windows]
        parts = [part for some in windows for part in some]
    else:
        parts = harness.tokens_of([(context, continuation) for context, continuation in everything], tokenizer)
    return Encoded(inputs=[_foretelling(*part, longest) for part in parts], labels=labels, truths=truths)


def _foretelling(context: list[int], continuation: list[int], longest: int) -> dict[str, numpy.ndarray]:
    """Context and continuation but its last token, cut on the left to the model's positions."""
    import numpy as np

    if not continuation or len(continuation) > longest:
        raise OptibenchError(
            f"The task has an answer of {len(continuation)} tokens, and the model has {longest} positions: expected 1 "
            "to as many. Leave the example out, or give another task."
        )
    ids = np.array((context + continuation)[-(longest + 1) : -1], np.int64)
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        TARGETS: np.array(continuation, np.int64),
        COUNT: np.array(len(continuation), np.int64),
    }


def _to_be_written(
    everything: Sequence[Sequence[Any]], tokenizer: Any, longest: int
) -> tuple[list[dict[str, numpy.ndarray]], dict[str, Any]]:
    """The prompts, and how answers are written and cut. Errors: the task samples, or leaves no room for a prompt."""
    import numpy as np
    from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

    said = normalize_gen_kwargs(everything[0][1], NEW_TOKENS)
    if said["do_sample"] or any(settings != everything[0][1] for _, settings in everything):
        raise OptibenchError(
            "The task samples its answers, or asks for each in another way; builds decode greedily, and all alike. "
            "Give a task with do_sample: false."
        )
    most = int(said["max_gen_toks"])
    if most >= longest:
        raise OptibenchError(
            f"The task has up to {most} tokens written, and the model has {longest} positions, so that no prompt fits. "
            "Give a task whose generation_kwargs say fewer (max_gen_toks)."
        )
    until = handle_stop_sequences(said["until"], tokenizer.eos_token)
    runs = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in until if text]
    how = {
        "most": most,
        "ends": [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else [],
        # Only tokens that are that text wherever they stand; others do not end an answer early, it is cut all the same.
        "runs": [run for run, text in zip(runs, until, strict=False) if run and tokenizer.decode(run) == text],
        "until": [text for text in until if text],
    }
    inputs = []
    for context, _ in everything:
        ids = np.array(tokenizer(context)["input_ids"][-(longest - most) :], np.int64)
        if not len(ids):
            raise OptibenchError("The task has an answer written to an empty prompt, and the tokenizer adds no token.")
        inputs.append({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return inputs, how


def _bytes_of(value: dict[str, Any]) -> numpy.ndarray:
    import numpy as np

    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def batch_rows(model: Model) -> int:
    """How many inputs may share a batch."""
    return text_generation.batch_rows(model)


def prompts(
    rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, new_tokens: int
) -> list[dict[str, numpy.ndarray]]:
    """Beginnings of what the task asks, whose greedy continuations are held against the reference's."""
    texts = [{"text": "".join(part for part in row["asked"][0] if isinstance(part, str))} for row in rows[:40]]
    return text_generation.prompts(texts, tokenizer, model, new_tokens)


# In the worker


def run(session: GenerativeSession, batch: Mapping[str, numpy.ndarray], model: Model) -> Mapping[str, Any]:
    """Logits of all places; or, where answers are to be written, their tokens."""
    if WRITING not in batch:
        return session.arrays(session.call(session.feed(batch)))
    return {written.TOKENS: _written(session, batch, json.loads(batch[WRITING].tobytes()))}


def _written(
    session: GenerativeSession, batch: Mapping[str, numpy.ndarray], how: Mapping[str, Any]
) -> list[numpy.ndarray]:
    """Greedily, each row to its end or to a run of tokens that ends it (which it keeps)."""
    import numpy as np

    from optibench.generation import greedy

    tokens = greedy(session.start(session.feed(_left(batch))))
    rows: list[list[int]] = [[] for _ in tokens]
    going = [True] * len(rows)
    for place in range(how["most"]):
        for row, token in enumerate(tokens.tolist()):
            if going[row]:
                rows[row].append(token)
                tail = rows[row]
                going[row] = token not in how["ends"] and not any(tail[-len(run) :] == run for run in how["runs"])
        if not any(going) or place + 1 == how["most"]:
            break
        tokens = greedy(session.step(tokens))
    return [np.array(row, np.int64) for row in rows]


def _left(batch: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """Rows that are filled up on the right, filled up on the left, so that all go on at the same place."""
    import numpy as np

    mask = np.asarray(batch["attention_mask"])
    ids = np.asarray(batch["input_ids"])
    shifts = mask.shape[1] - mask.sum(axis=1)
    return {
        name: np.stack([np.roll(row, shift) for row, shift in zip(array, shifts, strict=True)])
        for name, array in (("input_ids", ids), ("attention_mask", mask))
    }


def answers(
    outputs: Mapping[str, Any], inputs: Mapping[str, numpy.ndarray], model: Model
) -> numpy.ndarray | list[numpy.ndarray]:
    """Of each input the log probability of what follows, how many of its tokens were the likeliest, and how many there
    are; or the tokens that were written."""
    import numpy as np

    if written.TOKENS in outputs:
        return written.tokens_of(outputs)
    found = []
    logits, lengths = first_output(outputs, "logits"), inputs["attention_mask"].sum(axis=1)
    for row, length, targets, count in zip(logits, lengths, inputs[TARGETS], inputs[COUNT], strict=True):
        here = np.asarray(row[int(length - count) : int(length)], np.float32)
        mine = here[np.arange(int(count)), targets[: int(count)]]
        best = here.max(axis=1)
        total = np.log(np.exp(here - best[:, None]).sum(axis=1)) + best
        found.append((float((mine - total).sum()), float((mine >= best).sum()), float(count)))
    return np.array(found, np.float32)


# In the parent again


def predictions(answers: Sequence[numpy.ndarray], labels: Any) -> numpy.ndarray:
    """Not asked: what an example is worth depends on the metric (``scores``)."""
    raise NotImplementedError


def scores(
    answers: Sequence[numpy.ndarray], truths: Mapping[str, Any], model: Model, workload: Workload
) -> list[Score]:
    """Every metric of the harness's task that comes of the examples one by one, those first of which more is better."""
    from optibench.values import Score

    assert workload.dataset is not None, "rows told so"
    task = harness.task_of(workload.dataset, model.trust_remote_code)
    given = list(_given(answers, truths))
    found = harness.judged(task, workload.limit, given, truths["asked"], model.trust_remote_code)
    by_metric = _numbers(found["samples"][task.task_name], harness.by_example(task))
    better = task.higher_is_better()
    ranked = sorted(by_metric, key=lambda name: better.get(name.partition(",")[0]) is False)
    if truths["kind"] != "generate_until" and not any(better.get(name.partition(",")[0]) for name in ranked):
        by_metric[lm_metrics.FORETOLD] = _foretold(
            answers, truths
        )  # the floor is a share of what is better the more there is
        ranked.insert(0, lm_metrics.FORETOLD)
    labels = (0.0,) * len(truths["requests"])
    return [
        Score(
            metric=name,
            value=_value(name, by_metric[name]),
            count=len(by_metric[name]),
            predictions=tuple(one if len(one) > 1 else one[0] for one in by_metric[name]),
            labels=labels,
        )
        for name in ranked
    ]


def _given(answers: Sequence[numpy.ndarray], truths: Mapping[str, Any]) -> Iterator[Any]:
    """The answers as the harness takes them, a request each."""
    if truths["kind"] == "generate_until":
        from tokenizers import Tokenizer

        made = Tokenizer.from_str(truths["spelt"])
        for answer in answers:
            text = made.decode([int(token) for token in answer[:, 0]])
            for end in truths["until"]:
                text = text.split(end)[0]
            yield text
    elif truths["kind"] == "loglikelihood_rolling":
        start = 0
        for count in truths["windows"]:
            yield float(sum(float(one[0]) for one in answers[start : start + count]))
            start += count
    else:
        yield from ((float(one[0]), bool(one[1] == one[2])) for one in answers)


def _numbers(samples: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> dict[str, list[tuple[float, ...]]]:
    """Metric (and after a comma the filter of answers that it goes by, where it has a name) -> a few numbers an
    example."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for sample in sorted(samples, key=lambda one: int(one["doc_id"])):
        for metric in metrics:
            if metric in sample:
                value = sample[metric]
                name = metric if sample["filter"] == "none" else f"{metric},{sample['filter']}"
                numbers = value if isinstance(value, list | tuple) else (value,)
                found.setdefault(name, []).append(tuple(float(one) for one in numbers))
    return found


def _foretold(answers: Sequence[numpy.ndarray], truths: Mapping[str, Any]) -> list[tuple[float, ...]]:
    """Of each example how many of its tokens were the likeliest, and how many there are."""
    import numpy as np

    inputs = iter(truths["windows"]) if "windows" in truths else None
    found: list[tuple[float, ...]] = []
    start = 0
    for requests in truths["requests"]:
        end = start + (sum(next(inputs) for _ in range(requests)) if inputs else requests)
        hits, tokens = np.asarray(answers[start:end], float)[:, 1:].sum(axis=0)
        found.append((float(hits), float(tokens)))
        start = end
    return found


def _value(name: str, examples: Sequence[tuple[float, ...]]) -> float:
    import numpy as np

    numbers = np.array(examples, float)
    return float(METRICS[name]((numbers if numbers.shape[1] > 1 else numbers[:, 0])[None], np.zeros(0))[0])
