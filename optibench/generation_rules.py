"""How a model with an encoder decodes: its first tokens, which tokens are ruled out where, and when it ends, as its own
generation_config.json says and transformers' ``generate`` applies it, greedily (one beam).

Numpy alone, since it runs in the slim process that is measured.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from optibench.errors import OptibenchError, first_line, unknown_name
from optibench.values import Model, Value

if TYPE_CHECKING:
    import numpy

PROMPT = "decoder_input_ids"
RULES = "_rules"
"""The inputs that hold what the decoder begins with, one row for all; and all the rules, as the bytes of their JSON."""
LONGEST = 128
"""New tokens at most where the model's files do not say."""
PROMPTS = 20
"""Inputs whose tokens are compared with the reference's, one by one."""


class Rules(Value, frozen=True, kw_only=True):
    """``prompt``: what the decoder begins with. ``begin``: the tokens that each of the first new ones is chosen from
    (a forced language; the languages that Whisper tells apart). ``suppress`` and ``begin_suppress``: never chosen, and
    not right after the beginning. ``bad_words``: runs of tokens that are never completed. ``least`` and ``most``: new
    tokens before which no end, and after which nothing more is made. ``stop``: the tokens that end a text."""

    prompt: tuple[int, ...]
    stop: tuple[int, ...]
    most: int
    least: int = 0
    begin: tuple[tuple[int, ...], ...] = ()
    suppress: tuple[int, ...] = ()
    begin_suppress: tuple[int, ...] = ()
    bad_words: tuple[tuple[int, ...], ...] = ()
    repeat_penalty: float = 1.0
    no_repeat: int = 0
    """Runs of so many tokens occur once in a text at most (0: as often as they like)."""

    def choose(self, logits: numpy.ndarray, made: Sequence[numpy.ndarray]) -> numpy.ndarray:
        """The likeliest token of each row that is allowed, int64, shape (batch,). ``logits``: float32 of the shape
        (batch, vocabulary); ``made``: the new tokens so far, each of the shape (batch,)."""
        import numpy as np

        scores = np.array(logits, np.float32)
        size = scores.shape[1]
        place = len(made)
        if place < len(self.begin):  # what is ruled out later may stand here
            allowed = [token for token in self.begin[place] if token < size]
            found: numpy.ndarray = np.array(allowed, np.int64)[scores[:, allowed].argmax(axis=1)]
            return found
        if self._looks_back:
            past = np.concatenate([np.tile(self.prompt, (len(scores), 1)), *(one[:, None] for one in made)], axis=1)
            for row, before in zip(scores, past.astype(np.int64), strict=True):
                self._rule_out(row, before)
        ruled_out = list(self.suppress)
        if place == len(self.begin):
            ruled_out += self.begin_suppress
        if place < self.least:
            ruled_out += self.stop
        scores[:, [token for token in ruled_out if token < size]] = -np.inf
        likeliest: numpy.ndarray = scores.argmax(axis=1).astype(np.int64)
        return likeliest

    @property
    def _looks_back(self) -> bool:
        return bool(self.no_repeat or self.bad_words or self.repeat_penalty != 1.0)

    def _rule_out(self, row: numpy.ndarray, before: numpy.ndarray) -> None:
        """What one row's past forbids, in place."""
        import numpy as np

        if self.repeat_penalty != 1.0:
            seen = np.unique(before[before < len(row)])
            row[seen] = np.where(row[seen] < 0, row[seen] * self.repeat_penalty, row[seen] / self.repeat_penalty)
        past = before.tolist()
        if self.no_repeat and len(past) + 1 >= self.no_repeat:
            head = past[len(past) + 1 - self.no_repeat :]
            for start in range(len(past) - self.no_repeat + 1):
                if past[start : start + self.no_repeat - 1] == head:
                    row[past[start + self.no_repeat - 1]] = -np.inf
        for *head, last in self.bad_words:
            if last < len(row) and (not head or past[-len(head) :] == head):
                row[last] = -np.inf


def with_shared(batch: Mapping[str, numpy.ndarray], shared: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """A batch with what all batches hold; what the decoder begins with, once for each row."""
    import numpy as np

    rows = len(next(iter(batch.values())))
    return {**batch, **{name: np.repeat(a, rows, axis=0) if name == PROMPT else a for name, a in shared.items()}}


def arrays_of(rules: Rules) -> dict[str, numpy.ndarray]:
    """The rules as arrays that every batch of inputs holds."""
    import numpy as np

    return {PROMPT: np.asarray([rules.prompt], np.int64), RULES: np.frombuffer(msgspec.json.encode(rules), np.uint8)}


def rules_in(batch: Mapping[str, numpy.ndarray]) -> Rules | None:
    """The rules that a batch of inputs holds; None where it has none."""
    return None if RULES not in batch else msgspec.json.decode(batch[RULES].tobytes(), type=Rules)


def rules_digest(model: Model) -> int:
    """A digest of generation_config.json (0 if there is none): weights and config.json do not tell it."""
    file = Path(model.path) / "generation_config.json"
    return zlib.crc32(file.read_bytes()) if file.is_file() else 0


def settings_of(model: Model) -> dict[str, Any]:
    """What transformers' own ``generate`` would go by: generation_config.json, or where there is none config.json; and
    over it what config.json says of the task alone (task_specific_params), as transformers' pipelines take it.

    Runs where transformers may be imported.
    """
    from transformers import AutoConfig, GenerationConfig

    own = AutoConfig.from_pretrained(model.path, trust_remote_code=model.trust_remote_code)
    if (Path(model.path) / "generation_config.json").is_file():
        try:
            found = GenerationConfig.from_pretrained(model.path)
        except Exception as error:  # whatever its checks and json's parser raise
            raise OptibenchError(
                f"The generation_config.json of {model.ref.id} cannot be read: {first_line(error)}."
            ) from error
    else:
        found = GenerationConfig.from_model_config(own)
    said = {"forced_decoder_ids": getattr(own, "forced_decoder_ids", None)}
    said |= {name: value for name, value in found.to_dict().items() if value is not None}
    return said | of_task(model)


def of_task(model: Model) -> dict[str, Any]:
    """What config.json says of the model's task alone; {} where it says nothing, or several things (T5 has a prefix
    for each pair of languages: which is meant only the user's text can say)."""
    tasks = model.config.get("task_specific_params") or {}
    kind = model.ref.task
    mine = [values for name, values in tasks.items() if name == kind or name.startswith(f"{kind}_")]
    return dict(mine[0]) if len(mine) == 1 else {}


def rules_of(model: Model) -> Rules:
    """The rules of a model. Error: nothing says what its decoder begins with."""
    said = settings_of(model)
    start = next((said[key] for key in ("decoder_start_token_id", "bos_token_id") if said.get(key) is not None), None)
    if start is None:
        raise OptibenchError(
            f"Nothing says what the decoder of {model.ref.id} begins with: expected decoder_start_token_id in its "
            "generation_config.json or config.json. Write it there."
        )
    whispers = "no_timestamps_token_id" in said
    begin = _whisper_begin(model, said) if whispers else _forced_begin(said)
    given = 1 + (len(begin) if whispers else 0)  # what generate counts as given, and not as new
    prompt = [int(start)]
    while begin and len(begin[0]) == 1:  # what there is no choice of needs no call of its own
        prompt.append(begin.pop(0)[0])
    new, longest = said.get("max_new_tokens"), said.get("max_length")
    if longest and whispers:  # whose generate does not count what is given
        longest += given
    longest = given + new if new else longest or given + LONGEST
    if positions := _positions(model):
        longest = min(longest, positions)
    longest -= said.get("forced_eos_token_id") is not None  # the last place is the end's
    least = max(given + fewest if (fewest := said.get("min_new_tokens")) else 0, said.get("min_length") or 0)
    stop = _listed(said.get("eos_token_id"))
    return Rules(
        prompt=tuple(prompt),
        begin=tuple(tuple(one) for one in begin),
        stop=stop,
        most=max(1, longest - len(prompt)),
        least=max(0, least - len(prompt)),
        suppress=_listed(said.get("suppress_tokens")),
        begin_suppress=_listed(said.get("begin_suppress_tokens")),
        bad_words=tuple(
            tuple(one) for one in said.get("bad_words_ids") or () if tuple(one) not in {(s,) for s in stop}
        ),
        repeat_penalty=float(said.get("repetition_penalty") or 1.0),
        no_repeat=int(said.get("no_repeat_ngram_size") or 0),
    )


def _listed(value: Any) -> tuple[int, ...]:
    return () if value is None else (int(value),) if isinstance(value, int) else tuple(int(one) for one in value)


def _positions(model: Model) -> int | None:
    """How many tokens the decoder can have; None where no limit is known (relative positions)."""
    names = ("max_target_positions", "max_position_embeddings")
    return next((int(model.config[name]) for name in names if isinstance(model.config.get(name), int)), None)


def _forced_begin(said: dict[str, Any]) -> list[list[int]]:
    forced = said.get("forced_bos_token_id")
    return [] if forced is None else [[int(forced)]]


def _whisper_begin(model: Model, said: dict[str, Any]) -> list[list[int]]:
    """After the start: the language (any, where none is said: the likeliest is what transformers detects), the task,
    and that no timestamps are wanted. Source: transformers' WhisperForConditionalGeneration._retrieve_init_tokens."""
    languages, tasks = said.get("lang_to_id") or {}, said.get("task_to_id") or {}
    language, task = said.get("language"), said.get("task")
    begin: list[list[int]] = []
    if task is None and language is None:  # the older way, which many checkpoints still have
        for place, (index, token) in enumerate(said.get("forced_decoder_ids") or (), 1):
            if index == place:
                begin.append([] if token is None else [int(token)])
    if language is not None:
        begin[:1] = [[_language(model, str(language), languages)]]
    elif languages and not (begin and begin[0]):
        begin[:1] = [sorted(languages.values())]
    ids = set(tasks.values())
    if task is not None or (language is not None and tasks and not any(ids & set(one) for one in begin)):
        if (task or "transcribe") not in tasks:
            raise unknown_name("task", str(task), tasks, f"generation_config.json of {model.ref.id} asks for it.")
        begin = [*(one for one in begin if not ids & set(one)), [tasks[task or "transcribe"]]]
    begin = [one for one in begin if one]
    silent = int(said["no_timestamps_token_id"])
    return begin if begin and begin[-1] == [silent] else [*begin, [silent]]


def _language(model: Model, name: str, known: dict[str, int]) -> int:
    """A language's token, by its code (en, <|en|>). Error: the model does not have it."""
    for spelt in (name.lower(), f"<|{name.lower()}|>"):
        if spelt in known:
            return int(known[spelt])
    codes = sorted(code.strip("<|>") for code in known)
    raise unknown_name("language", name, codes, f"generation_config.json of {model.ref.id} asks for it.")
