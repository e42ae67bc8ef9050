"""Tasks of the lm-evaluation-harness: a build's scores are those that the harness's own model of transformers gets, and
a task's code is not run unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from optibench import harness, inputs, models, plugins, score, targets, worker
from optibench.answers import Answers
from optibench.cache import Cache
from optibench.errors import OptibenchError
from optibench.host import describe
from optibench.plan import Plan, Request, plan_of
from optibench.tasks.base import truths_of
from optibench.values import Case, Job, Score
from tests import test_decoders

pytest.importorskip("lm_eval", reason="the lm-evaluation-harness is the extra lm-eval, which is not installed")

FRUITS = ("apple", "pear", "plum", "fig", "date", "lime", "kiwi", "mango", "grape", "melon")
CHOICE = """
task: fruits
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: multiple_choice
num_fewshot: 2
fewshot_split: test
doc_to_text: "Which is {{{{color}}}}?"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{gold}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
  - {{metric: f1}}
"""
ROLLING = """
task: fruit_texts
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: word_perplexity}}, {{metric: bits_per_byte}}]
"""
WRITTEN = """
task: fruit_answers
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: generate_until
generation_kwargs: {{until: ["\\n", "e"], max_gen_toks: 12, do_sample: false}}
doc_to_text: "{{{{color}}}} is"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}}]
filter_list:
  - {{name: whole, filter: [{{function: take_first}}]}}
  - {{name: letter, filter: [{{function: regex, regex_pattern: "([a-z])"}}, {{function: take_first}}]}}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return test_decoders.write(tmp_path_factory.mktemp("harness") / "llama", "Llama")


def write_task(folder: Path, text: str, **more: Any) -> str:
    """The name of a task of one's own over ten examples."""
    rows = [
        {
            "color": f"{name} number {place}", "choices": [name, FRUITS[place - 1], "none of them"], "gold": place % 2,
            "answer": name[0], "text": " ".join([name, *FRUITS] * (place + 1)),
        }
        for place, name in enumerate(FRUITS)
    ]  # fmt: skip
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "task.yaml").write_text(text.format(data=folder / "data.jsonl", **more))
    return f"{harness.PREFIX}{folder / 'task.yaml'}"


def planned(model: Path, dataset: str, limit: int | None = None) -> Plan:
    found = harness.judging(models.resolve(str(model)), dataset)
    request = Request(model=str(model), dataset=dataset, lengths=(16,), new_tokens=4, limit=limit)
    return plan_of(request, found, targets.load(), describe())


def scores(model: Path, dataset: str, backend: str, cache: Cache, limit: int | None = None) -> tuple[Score, ...]:
    """As a run gets them: inputs from the builder's code, answers from a worker's, scores from the parent's."""
    plan = planned(model, dataset, limit)
    rows = inputs.rows_of(plan.model, plan.workload)
    entry = cache.get_or_make(
        "inputs",
        inputs.recipe(plan.model, plan.workload, rows.sources),
        lambda at: inputs.make(at, plan.model, plan.workload, rows),
    )
    at = cache.path(entry.key)
    case = Case(target="cpu", backend=backend, precision="fp32")
    module = plugins.load("backend", backend)
    build = plan.build(case, str(at), rows.sources.calibration.sha256)
    job = Job(
        case=case, model=plan.model, target=plan.target("cpu"), round=1, artifact=module.prepare(build, cache),
        inputs=str(at), shapes=plan.workload.shapes, threads=2,
    )  # fmt: skip
    at_work = worker.Worker()
    task = plugins.load("task", plan.model.ref.task)
    opened = at_work.answer(worker.Open(job=job, backend=module.__name__, task=task.__name__, started_ns=0))
    assert "error" not in opened, opened
    judged = at_work.answer(worker.Judge(evaluation=str(at / "evaluation.npz"), out=str(cache.root / "out")))
    assert "error" not in judged, judged
    at_work.close()
    answers = Answers.of_file(judged, entry.facts["order"])
    asked = (plan.model, plan.workload)
    return score.scores_of(task_name(plan), answers, entry.facts["labels"], truths_of(entry.facts, at), asked)


def task_name(plan: Plan) -> str:
    assert plan.model.ref.task == harness.TASK
    return plan.model.ref.task


def by_the_harness(model: Path, dataset: str, limit: int | None = None) -> dict[str, float]:
    """What the harness's own model of transformers gets, on its own."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    task = harness.task_of(dataset, trusted=False)
    task.set_config(key="num_fewshot", value=task.get_config("num_fewshot") or 0)  # as its simple_evaluate does
    task.set_fewshot_seed(seed=harness.SEED)
    build = HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=1)
    found = evaluate(build, {"tasks": {task.task_name: task}, "groups": {}}, limit=limit, bootstrap_iters=0)
    values = found["results"][task.task_name].items()
    return {name: value for name, value in values if isinstance(value, float)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "backend", "names"),
    [
        (CHOICE, "pytorch", ["acc", "acc_norm"]),  # not f1, of which no example has a share
        (CHOICE, "onnxruntime", ["acc", "acc_norm"]),
        (ROLLING, "pytorch", ["next_token", "word_perplexity", "bits_per_byte"]),
        (ROLLING, "openvino", ["next_token", "word_perplexity", "bits_per_byte"]),
        (WRITTEN, "pytorch", ["exact_match,whole", "exact_match,letter"]),
        (WRITTEN, "onnxruntime", ["exact_match,whole", "exact_match,letter"]),
    ],
    ids=[
        "choice-pytorch",
        "choice-onnxruntime",
        "rolling-pytorch",
        "rolling-openvino",
        "written-pytorch",
        "written-ort",
    ],
)
def test_scores_are_those_of_the_harness_with_transformers(
    text: str, backend: str, names: list[str], model: Path, tmp_path: Path, cache_root: Path
) -> None:
    dataset = write_task(tmp_path, text)
    mine = {one.metric: one for one in scores(model, dataset, backend, Cache(cache_root))}
    theirs = by_the_harness(model, dataset)
    assert list(mine) == names
    assert {one.count for one in mine.values()} == {len(FRUITS)}
    for name, one in mine.items():
        if name != "next_token":
            key = name if "," in name else f"{name},none"
            assert one.value == pytest.approx(theirs[key], rel=1e-4), name
    if text is WRITTEN:  # else the test could not fail: a random model is right by chance now and then
        assert len(set(mine["exact_match,letter"].predictions)) == 2


@pytest.mark.slow
def test_only_the_first_examples_are_asked_where_a_limit_says_so(model: Path, tmp_path: Path, cache_root: Path) -> None:
    dataset = write_task(tmp_path, CHOICE)
    found = scores(model, dataset, "pytorch", Cache(cache_root), limit=4)
    assert {one.count for one in found} == {4}
    assert found[0].value == pytest.approx(by_the_harness(model, dataset, limit=4)["acc,none"])


def test_a_row_is_an_example_and_names_no_folder(model: Path, tmp_path: Path) -> None:
    found = inputs.rows_of(*of(planned(model, write_task(tmp_path, CHOICE))))
    reference = found.sources.evaluation
    assert reference is not None
    assert reference.id == "lm-eval:task.yaml"
    assert reference.count == len(FRUITS)
    assert [len(row["asked"]) for row in found.evaluation] == [3] * len(FRUITS)


def of(plan: Plan) -> tuple[Any, Any]:
    return plan.model, plan.workload


# What may not run

MARK = "import pathlib; pathlib.Path({here!r}, 'ran').touch()"
TEMPLATE = "{{{{ cycler.__init__.__globals__.os.system('touch {here}/ran') }}}}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('doc_to_text: "Which is', "doc_to_text: !function code.text #"),
        ("metric: acc,", "metric: !function code.metric,"),
        ("test_split: test", "test_split: test\nprocess_docs: !function code.docs"),
        ("test_split: test", "test_split: test\nclass: !function code.Task"),
    ],
    ids=["text", "metric", "docs", "class"],
)
def test_python_beside_a_task_is_not_run_unasked(change: str, said: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(MARK.format(here=str(tmp_path)))
    dataset = write_task(tmp_path, CHOICE.replace(change, said))
    with pytest.raises(OptibenchError, match=r"wants code to be run \(.*!function.*--trust-remote-code"):
        inputs.rows_of(*of(planned(model, dataset)))
    assert not (tmp_path / "ran").exists()
    with pytest.raises(OptibenchError, match="cannot be loaded"):  # the module lacks what is asked of it, but it ran
        harness.task_of(dataset, trusted=True)
    assert (tmp_path / "ran").exists()


def test_python_beside_a_file_that_a_task_includes_is_not_run_unasked(model: Path, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(MARK.format(here=str(tmp_path)))
    (tmp_path / "base.yaml").write_text("doc_to_text: !function code.text\n")
    dataset = write_task(tmp_path, "include: base.yaml" + CHOICE)
    with pytest.raises(OptibenchError, match=r"!function in base.yaml"):
        harness.task_of(dataset, trusted=False)
    assert not (tmp_path / "ran").exists()


def test_a_template_cannot_reach_out_of_its_sandbox(tmp_path: Path) -> None:
    text = CHOICE.replace("Which is {{{{color}}}}?", TEMPLATE)
    with pytest.raises(OptibenchError, match=r"cannot be loaded: SecurityError"):
        harness.task_of(write_task(tmp_path, text, here=tmp_path), trusted=False)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "said", "wanted"),
    [
        ("metric: acc,", "metric: someones/metric,", "the metric 'someones/metric'"),
        ("metric: acc,", "metric: acc, hf_evaluate: true,", "hf_evaluate"),
        ("test_split: test", "test_split: test\nunsafe_code: true", "unsafe_code"),
        ("test_split: test", "test_split: test\nuse_prompt: promptsource:x", "use_prompt"),
        ("dataset_kwargs:", "dataset_kwargs:\n  trust_remote_code: true", "trust_remote_code"),
        ("dataset_path: json", "dataset_path: webdataset", "data of the kind webdataset"),
        ("task: fruits", "task: !!python/name:os.system fruits", "python/name"),
    ],
)
def test_other_ways_to_code_are_named_and_refused(change: str, said: str, wanted: str, tmp_path: Path) -> None:
    dataset = write_task(tmp_path, CHOICE.replace(change, said))
    with pytest.raises(OptibenchError, match=f"wants code to be run .*{wanted}"):
        harness.task_of(dataset, trusted=False)


def test_a_task_of_the_harness_that_runs_what_a_model_writes_is_refused() -> None:
    with pytest.raises(OptibenchError, match=r"humaneval wants code to be run \(unsafe_code"):
        harness.task_of("lm-eval:humaneval", trusted=False)


# What is wrong


def test_a_task_that_is_not_there_is_an_error_with_the_nearest(model: Path) -> None:
    with pytest.raises(OptibenchError, match=r"has no task 'piqua'. Did you mean piqa"):
        inputs.rows_of(*of(planned(model, "lm-eval:piqua")))


def test_a_group_is_refused_with_its_members_before_any_data_are_fetched() -> None:
    with pytest.raises(OptibenchError, match=r"lm-eval:mmlu is a group of several tasks.*mmlu_stem"):
        harness.task_of("lm-eval:mmlu", trusted=False)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptibenchError, match=r"gone\.yaml cannot be read"):
        harness.task_of(f"lm-eval:{tmp_path}/gone.yaml", trusted=False)


def test_a_task_whose_data_are_missing_is_an_error(tmp_path: Path) -> None:
    dataset = write_task(tmp_path, CHOICE)
    (tmp_path / "data.jsonl").unlink()
    with pytest.raises(OptibenchError, match="cannot be loaded: FileNotFoundError"):
        harness.task_of(dataset, trusted=False)


def test_a_task_that_no_example_has_a_share_of_is_refused(model: Path, tmp_path: Path) -> None:
    only = CHOICE[: CHOICE.index("  - {{metric: acc,")] + "  - {{metric: f1}}\n"
    with pytest.raises(OptibenchError, match="scored by f1, of which no example has its own share"):
        inputs.rows_of(*of(planned(model, write_task(tmp_path, only))))


@pytest.mark.parametrize(
    ("change", "said", "match"),
    [
        ("do_sample: false", "do_sample: true, temperature: 0.7", "samples its answers"),
        ("max_gen_toks: 12", "max_gen_toks: 128", "has up to 128 tokens written, and the model has 128 positions"),
    ],
)
def test_answers_that_builds_cannot_write_are_refused(
    change: str, said: str, match: str, model: Path, tmp_path: Path
) -> None:
    plan = planned(model, write_task(tmp_path, WRITTEN.replace(change, said)))
    rows = inputs.rows_of(*of(plan))
    with pytest.raises(OptibenchError, match=match):
        inputs.make(tmp_path, plan.model, plan.workload, rows)


def test_columns_have_no_meaning_there(model: Path, tmp_path: Path) -> None:
    plan = planned(model, write_task(tmp_path, CHOICE))
    named = msgspec.structs.replace(plan.workload, columns={"text": "text"})
    with pytest.raises(OptibenchError, match="leave --columns out"):
        inputs.rows_of(plan.model, named)


def test_a_model_that_writes_nothing_is_not_asked(tiny_bert: Path) -> None:
    with pytest.raises(OptibenchError, match="models that generate text"):
        harness.judging(models.resolve(str(tiny_bert)), "lm-eval:piqa")
