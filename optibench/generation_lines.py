"""The lines of Python that write text with an exported build, for its README: greedily, with its runtime, numpy, and
the model's own tokenizer alone. A backend gives what is its own (``backends.base.Writing``); the rest is here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import indent
from typing import Any

from optibench import plugins
from optibench.backends.base import Writing
from optibench.decoding import WANTED
from optibench.embedders import folder_of
from optibench.errors import OptibenchError
from optibench.generation_rules import PROMPT, Rules, of_task
from optibench.tasks.base import kind_of
from optibench.values import Model

NEW_TOKENS = 64
"""At most so many are written where the model has no rule of its own."""
QUESTION = "Which build should I ship?"


def has_chat_template(model: Model) -> bool:
    """Whether the model's tokenizer says how a chat is written."""
    folder = folder_of(model)
    return (folder / "chat_template.jinja").is_file() or bool(
        _read(folder, "tokenizer_config.json").get("chat_template")
    )


def needs(model: Model) -> list[str]:
    """What must be installed to run the lines, beside the runtime."""
    return ["transformers", *(["jinja2"] if has_chat_template(model) else [])]


def lines(model: Model, writing: Writing, here: str, rules: Rules | None) -> str:
    """All lines; ``rules`` are those of a model with an encoder."""
    classes, inputs = _inputs(model)
    imports = f"from pathlib import Path\n\nimport numpy\n{writing.imports}\nfrom transformers import {classes}"
    loop = _of_decoder(_ends_of(model), writing.call) if rules is None else _of_rules(rules, writing.call)
    return f"{imports}\n\n{here}\n{inputs}\n{writing.opening}\n\n{loop}"


def _inputs(model: Model) -> tuple[str, str]:
    """The classes to import, and the lines that make ``tokenizer`` and ``inputs``."""
    classes, made = ["AutoTokenizer"], "tokenizer = AutoTokenizer.from_pretrained(here)\n"
    if kind_of(plugins.load("task", model.ref.task)) == "sound":
        classes.insert(0, "AutoFeatureExtractor")
        made += (
            "listener = AutoFeatureExtractor.from_pretrained(here)\n"
            'sound = numpy.zeros(listener.sampling_rate, "float32")  # put your own here: one channel\n'
            'inputs = listener(sound, sampling_rate=listener.sampling_rate, return_tensors="np")'
        )
    elif has_chat_template(model):
        made += (
            f'chat = [{{"role": "user", "content": "{QUESTION}"}}]\n'
            "inputs = tokenizer.apply_chat_template(\n    chat, add_generation_prompt=True, return_dict=True, "
            'return_tensors="np"\n)'
        )
    else:
        prefix = str(of_task(model).get("prefix") or "")
        made += f'inputs = tokenizer({prefix + QUESTION!r}, return_tensors="np")'
    return ", ".join(classes), made


def _of_decoder(ends: Sequence[int], call: str) -> str:
    return f"""tokens, seen, made, ends = inputs["input_ids"], 0, [], {_as_set(ends)}
while len(made) < {NEW_TOKENS} and ends.isdisjoint(made):
    places = numpy.arange(seen, seen + tokens.shape[1])
    seen += tokens.shape[1]
    given = {{  # of which the graph takes what it declares
        "input_ids": tokens,
        "attention_mask": numpy.ones((1, seen), "int64"),
        "position_ids": places[None],
        "cache_position": places,
        "{WANTED}": numpy.array([tokens.shape[1] - 1]),
    }}
{indent(call, "    ")}
    tokens = logits[:, -1:].argmax(axis=-1)
    made.append(int(tokens[0, 0]))
print(tokenizer.decode(made, skip_special_tokens=True))"""


def _of_rules(rules: Rules, call: str) -> str:
    return f"""tokens, made, ends = numpy.array([{list(rules.prompt)}]), [], {_as_set(rules.stop)}
while len(made) < {rules.most} and ends.isdisjoint(made):
    given = {{**known, "{PROMPT}": tokens}}
{indent(call, "    ")}
    scores = logits[0, -1]
{indent(choice(rules), "    ")}
    tokens = numpy.array([made[-1:]])
print(tokenizer.decode(made, skip_special_tokens=True))"""


def choice(rules: Rules) -> str:
    """Appends to ``made`` the likeliest token by ``scores`` that the rules allow, as far as these can be said without
    looking back: what may stand at the beginning, and what is chosen nowhere, or not so early."""
    never = sorted({*rules.suppress, *(one[0] for one in rules.bad_words if len(one) == 1)})
    chosen = [f"scores[{never}] = -numpy.inf"] if never else []
    if rules.begin_suppress:
        chosen += [f"if len(made) == {len(rules.begin)}:", f"    scores[{list(rules.begin_suppress)}] = -numpy.inf"]
    if rules.least:
        chosen += [f"if len(made) < {rules.least}:", "    scores[list(ends)] = -numpy.inf"]
    chosen.append("made.append(int(scores.argmax()))")
    lines = "\n".join(chosen)
    if not rules.begin:
        return lines
    first = [list(one) for one in rules.begin]
    return (
        f"first = {first}  # what the first tokens are chosen from\n"
        "if len(made) < len(first):\n    made.append(max(first[len(made)], key=lambda token: scores[token]))\n"
        f"else:\n{indent(lines, '    ')}"
    )


def unapplied(rules: Rules) -> list[str]:
    """Rules of generation_config.json that look back at all that was written, which the lines do not."""
    found = {
        "repetition_penalty": rules.repeat_penalty != 1.0,
        "no_repeat_ngram_size": bool(rules.no_repeat),
        "bad_words_ids": any(len(one) > 1 for one in rules.bad_words),
    }
    return [name for name, there in found.items() if there]


def _as_set(tokens: Sequence[int]) -> str:
    return f"{{{', '.join(map(str, tokens))}}}" if tokens else "set()"


def _ends_of(model: Model) -> list[int]:
    """The tokens that end a text, as transformers' ``generate`` has them: generation_config.json says so, or where
    there is none config.json."""
    folder = folder_of(model)
    inner = model.config.get("text_config")
    said = model.config if not isinstance(inner, dict) else {**inner, **model.config}
    if (folder / "generation_config.json").is_file():
        said = _read(folder, "generation_config.json")
    ends = said.get("eos_token_id")
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    if not all(isinstance(end, int) for end in ends):
        raise OptibenchError(f"eos_token_id beside {model.ref.id} is {ends}: expected a token's number, or several.")
    return ends


def _read(folder: Any, name: str) -> dict[str, Any]:
    """A JSON object beside the model; {} where there is no such file. Error: it is none."""
    file = folder / name
    try:
        found = json.loads(file.read_bytes()) if file.is_file() else {}
    except ValueError as error:
        raise OptibenchError(f"{name} beside the model cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise OptibenchError(f"{name} beside the model cannot be read: expected an object.")
    return found
