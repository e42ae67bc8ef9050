"""Cards of what is published on the Hugging Face Hub: README.md with metadata that the Hub reads.

The metadata go through huggingface_hub's own writer, so that no name can break out of them; the texts through
``markdown_plain``. Of a card that lies there already, what this one does not say (a licence, languages) is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optibench import __version__
from optibench.render import sentences
from optibench.render.columns import columns, mark
from optibench.render.markdown import table
from optibench.render.plain import markdown_plain, plain, with_text
from optibench.results import CaseResult, Comparison

if TYPE_CHECKING:
    from huggingface_hub import CardData, EvalResult

PICTURE = "speed-and-accuracy.png"
TAG = "optibench"
FLOATS = ("fp32", "tf32", "bf16", "fp16")


def model_card(
    readme: str,
    comparison: Comparison,
    case: CaseResult,
    repo: str,
    library: str,
    *,
    picture: bool,
    before: bytes | None,
) -> str:
    """The card of one build: ``readme`` (what it is, and the lines that run it), then what was measured of it and of
    the builds beside it. ``library`` is the format that it is in, ``before`` the card that it takes the place of."""
    from huggingface_hub import ModelCardData

    model, results = comparison.model, _results(comparison, case)
    data = ModelCardData(
        base_model=plain(model.id) if model.source == "hub" else None,
        library_name=library,
        pipeline_tag=plain(model.task) if model.task != "graph" else None,
        tags=[TAG, plain(case.backend), plain(case.precision)],
        metrics=[result.metric_type for result in results] or None,
        model_name=repo.partition("/")[2],
        eval_results=results or None,
    )
    if model.source == "hub" and case.precision not in FLOATS:
        data["base_model_relation"] = "quantized"
    return _card(data, f"{readme.rstrip()}\n\n{_measured(comparison, case, picture)}", before)


def _results(comparison: Comparison, case: CaseResult) -> list[EvalResult]:
    """The case's scores as the Hub's evaluation results."""
    from huggingface_hub import EvalResult

    dataset = comparison.workload.dataset
    if dataset is None:
        return []
    return [
        EvalResult(
            task_type=plain(comparison.model.task),
            dataset_type=plain(dataset.id),
            dataset_name=plain(dataset.id),
            dataset_args={"examples": score.count, "sha256": dataset.sha256},
            metric_type=plain(score.metric),
            metric_value=round(score.value, 6),
        )
        for score in case.scores
    ]


def _measured(comparison: Comparison, case: CaseResult, picture: bool) -> str:
    shown = with_text(comparison, markdown_plain)
    grid = columns(shown)
    advice = sentences.advice(shown)
    if not (comparison.recommended and comparison.recommended.case == case.case):
        advice = f"This is {markdown_plain(case.case)} ({markdown_plain(mark(case))}). {advice}"
    basis = (*sentences.legend(shown), sentences.noise(shown), *sentences.accuracy(shown), *shown.warnings)
    by = f"optibench {markdown_plain(comparison.optibench_version)} on {comparison.created[:10]}"
    parts = [
        "## Measured",
        *([f"> [!CAUTION]\n> **{distrust}**"] if (distrust := sentences.distrust(shown)) else []),
        f"**{advice}**",
        f"{sentences.machine_line(shown)}\\\n{sentences.workload_line(shown)}",
        table(
            [column.title for column in grid],
            zip(*(column.cells for column in grid), strict=True),
            right=[column.right for column in grid],
        ),
        *([f"![Speed against accuracy of the builds in the table]({PICTURE})"] if picture else []),
        "\n".join(f"- {line}" for line in basis),
        f"Measured by {by}: all builds in turns, on one machine.",
    ]
    return "\n\n".join(parts)


def dataset_card(repo: str) -> str:
    """The card of a data set of records, for a repository that has none yet."""
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        pretty_name=repo.partition("/")[2],
        tags=[TAG],
        configs=[{"config_name": "default", "data_files": "data/*.parquet"}],
    )
    return _card(
        data,
        f"""# Measurements by optibench

Each file in `data/` is one run: a row for each process and shape, with every call's time in nanoseconds (`wall_ns`),
what was executed, scores and digests. A file is called by the digest of its records and is never changed.

```python
from datasets import load_dataset

records = load_dataset("{repo}", split="train").to_pandas()
```""",
        None,
    )


def space_card(repo: str, before: bytes | None) -> str:
    """The card of a static Space that shows a board; its title is the owner's to change."""
    from huggingface_hub import SpaceCardData

    return _card(
        SpaceCardData(sdk="static", app_file="index.html", tags=[TAG]),
        f"# A board of measurements\n\nMade by optibench {__version__} from submissions; `index.html` is the board.",
        before,
        title=repo.partition("/")[2],
    )


def _card(data: CardData, body: str, before: bytes | None, **unless_said: str) -> str:
    """The metadata and the body as README.md. Of the card ``before`` all is kept that these metadata do not say."""
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

    told: dict[str, Any] = data.to_dict()  # type: ignore[no-untyped-call]
    kept = _metadata(before)
    theirs = kept.get("tags")
    tags = [*told.get("tags", ()), *(theirs if isinstance(theirs, list) else ())]
    merged = {**unless_said, **kept, **told, "tags": list(dict.fromkeys(map(str, tags)))}
    return f"---\n{yaml_dump(merged, sort_keys=False).strip()}\n---\n\n{body}\n"


def _metadata(card: bytes | None) -> dict[str, Any]:
    """The metadata of a card; {} where there are none that can be read."""
    from huggingface_hub.repocard import RepoCard

    try:
        return dict(vars(RepoCard(card.decode(), ignore_metadata_errors=True).data)) if card else {}
    except Exception:  # a stranger's YAML can fail in any way, and then there is nothing to keep
        return {}
