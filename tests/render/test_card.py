"""Cards for the Hub, read as it reads them: by huggingface_hub's own parser, and as Markdown."""

from __future__ import annotations

import msgspec
import pytest
from huggingface_hub import ModelCard

from optibench.render import card
from optibench.results import Comparison, Noise
from tests.factories import case, comparison, data, interval, model
from tests.render.hostile import OBEYED, TEXT, hostile_comparison
from tests.render.test_markdown import html, tables

BREAKING_OUT = 'reviews\n---\nlicense: mit\n# owned: "yes" {a: [b'
OURS = {"library_name", "metrics", "pipeline_tag", "tags", "model_name", "eval_results", "base_model"}


def written(run: Comparison, number: int = 1, before: bytes | None = None, picture: bool = True) -> str:
    return card.model_card("# A build", run, run.cases[number], "user/name", "onnx", picture=picture, before=before)


def test_no_name_breaks_out_of_the_metadata() -> None:
    run = comparison(
        model=model(id=BREAKING_OUT, task=BREAKING_OUT, source="hub"), workload={"dataset": data(id=BREAKING_OUT)}
    )
    found = ModelCard(written(run))
    told = {name for name, value in vars(found.data).items() if value is not None}
    assert told == OURS | {"base_model_relation"}
    for value in (found.data.base_model, found.data.pipeline_tag, found.data.eval_results[0].dataset_name):
        assert value == BREAKING_OUT.replace("\n", " ")
    assert found.text.startswith("\n# A build\n")


def test_a_strangers_text_is_shown_and_not_obeyed() -> None:
    run = hostile_comparison()
    run = msgspec.structs.replace(run, model=msgspec.structs.replace(run.model, source="hub"))
    text = written(run)
    assert not set(OBEYED) & set(text)
    shown = html(ModelCard(text).text)
    assert "<b>" not in shown
    assert "&lt;b&gt;tag&lt;/b&gt;" in shown
    assert len(tables(ModelCard(text).text)) == 1
    assert "\n# next" not in text
    assert TEXT not in text


def test_scores_are_evaluation_results_and_a_model_of_this_disk_is_nobodys_base() -> None:
    found = ModelCard(written(comparison()))
    (result,) = found.data.eval_results
    assert (result.task_type, result.metric_type, result.metric_value) == ("sentence-similarity", "spearman", 0.725)
    assert result.dataset_args == {"examples": 265, "sha256": "ab" * 32}
    assert found.data.base_model is None
    assert found.data.get("base_model_relation") is None


def test_a_run_without_labels_claims_no_results() -> None:
    run = comparison(cases=(case("cpu/openvino/bf16", scores=()),), workload={"dataset": None})
    found = ModelCard(written(run, 0, picture=False))
    assert found.data.eval_results is None
    assert found.data.metrics is None
    assert "![" not in found.text


def test_numbers_that_cannot_be_trusted_are_called_so() -> None:
    noise = Noise(aa_ratio=interval(1.2), floor=0.03, settled=True, disturbed_share=0.1)
    assert "DO NOT TRUST THESE NUMBERS" in written(comparison(noise=noise))


@pytest.mark.parametrize("before", [b"---\n[unfinished\n---\n", b"---\n- a list\n---\n", b"\xff\xfe", b"no metadata"])
def test_a_card_that_cannot_be_read_gives_nothing_to_keep(before: bytes) -> None:
    assert written(comparison(), before=before) == written(comparison())


def test_what_an_owner_wrote_into_the_metadata_is_kept() -> None:
    before = b"---\nlicense: apache-2.0\ntags:\n- mine\nlibrary_name: other\n---\nold text\n"
    found = ModelCard(written(comparison(), before=before))
    assert found.data.license == "apache-2.0"
    assert found.data.library_name == "onnx"
    assert found.data.tags[0] == "optibench"
    assert "mine" in found.data.tags
    assert "old text" not in found.text
