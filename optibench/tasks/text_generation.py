"""Text generation: how well a model foretells real text, token by token, through the very session that is timed.

The first metric, of which the floor is a share, is how often the likeliest token is the text's. Perplexity and bits a
byte are shown beside it; there lower is better. What greedy decoding makes of prompts is held against the reference's
tokens apart (agreement.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.tasks.base import Encoded, first_output

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

AUTO_CLASS = "AutoModelForCausalLM"
COLUMNS = {"text": ("text", "sentence", "content", "document", "body", "article", "review")}
HAS_TOP1 = False
GENERATIVE = True
LONGEST = 256
"""Tokens of a window: a text that is longer is judged in several, each on its own."""
LOGITS = 1 << 25
"""Numbers that a batch's logits may hold (128 MiB): a whole vocabulary at each token is large."""
PROMPTS = 20
PROMPT_LENGTHS = (5, 9, 17, 31)
"""Tokens of the prompts in turn: odd, so that no kernel's block divides them."""


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """A window an input, begun by the token that begins texts, if the tokenizer has one. Labels: the bytes of the text
    that is foretold."""
    import numpy as np

    lead = _lead(tokenizer)
    most = min(model.max_length or LONGEST, LONGEST) - len(lead)
    inputs, labels = [], []
    for ids in _texts(rows, tokenizer):
        for start in range(0, len(ids), most):
            window = [*lead, *ids[start : start + most]]
            if len(window) < 2:  # nothing comes before its only token
                continue
            inputs.append({"input_ids": np.array(window), "attention_mask": np.ones(len(window), np.int64)})
            labels.append(float(len(tokenizer.decode(window[1:]).encode())))
    return Encoded(inputs=inputs, labels=labels)


def batch_rows(model: Model) -> int:
    """How many windows may share a batch."""
    words = _vocabulary(model.config)
    return max(1, min(16, LOGITS // (LONGEST * words))) if words else 1


def _vocabulary(config: Mapping[str, Any]) -> int | None:
    size = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")
    return size if isinstance(size, int) and size > 0 else None


def prompts(
    rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, new_tokens: int
) -> list[dict[str, numpy.ndarray]]:
    """PROMPTS beginnings of real texts, one a batch, that leave room for ``new_tokens``."""
    import numpy as np

    lead, texts = _lead(tokenizer), _texts(rows, tokenizer)
    room = model.max_length - new_tokens if model.max_length else max(PROMPT_LENGTHS)
    found = []
    for number in range(PROMPTS):
        turn, ids = number // len(texts), texts[number % len(texts)]
        length = max(1, min(PROMPT_LENGTHS[number % len(PROMPT_LENGTHS)], room) - len(lead))
        start = (turn * length) % max(1, len(ids) - length + 1)
        prompt = np.array([[*lead, *ids[start : start + length]]])
        found.append({"input_ids": prompt, "attention_mask": np.ones_like(prompt)})
    return found


def _lead(tokenizer: Any) -> list[int]:
    return [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]


def _texts(rows: Sequence[Mapping[str, Any]], tokenizer: Any) -> list[list[int]]:
    """The tokens of each text, without any that the tokenizer adds."""
    found = [tokenizer(str(row["text"]), add_special_tokens=False)["input_ids"] for row in rows]
    texts = [ids for ids in found if ids]
    if not texts:
        raise OptibenchError("The model's tokenizer makes no tokens of the data's texts. Give other data.")
    return texts


def answers(
    outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model
) -> list[numpy.ndarray]:
    """Of each token but a window's first: its log probability, and whether it was the likeliest."""
    import numpy as np

    found = []
    for logits, ids, mask in zip(
        first_output(outputs, "logits"), inputs["input_ids"], inputs["attention_mask"], strict=True
    ):
        count = int(mask.sum())
        before, true = np.asarray(logits[: count - 1], np.float32), ids[1:count]
        best = before.max(axis=1)
        total = np.log(np.exp(before - best[:, None]).sum(axis=1)) + best
        mine = before[np.arange(len(true)), true]
        found.append(np.stack([mine - total, mine >= best], axis=1).astype(np.float32))
    return found


def predictions(answers: Sequence[numpy.ndarray], labels: Any) -> numpy.ndarray:
    """Of each window: its log probability, tokens foretold, and tokens in all."""
    import numpy as np

    return np.array([(*window.sum(axis=0, dtype=float), len(window)) for window in answers])


def next_token(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """The share of tokens that were the likeliest."""
    result: numpy.ndarray = predictions[..., 1].sum(axis=1) / predictions[..., 2].sum(axis=1)
    return result


def perplexity(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """exp of the mean negative log probability of a token: lower is better, and comparable with one tokenizer only."""
    import numpy as np

    result: numpy.ndarray = np.exp(-predictions[..., 0].sum(axis=1) / predictions[..., 2].sum(axis=1))
    return result


def bits_per_byte(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """What a byte of text costs in bits (UTF-8): lower is better, and comparable between tokenizers."""
    import numpy as np

    result: numpy.ndarray = -predictions[..., 0].sum(axis=1) / np.log(2) / np.maximum(labels.sum(axis=1), 1)
    return result


METRICS = {"next_token": next_token, "perplexity": perplexity, "bits_per_byte": bits_per_byte}
