"""Each task: from rows to inputs, from outputs to answers, from answers to predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from optibench import plugins
from optibench.data_files import NamedLabel
from optibench.errors import OptibenchError
from optibench.tasks import fill_mask, graph, sentence_similarity, text_classification
from optibench.tasks.labels import label_indices
from optibench.values import Model
from tests import factories
from tests.conftest import write_tokenizer

MODEL = Model(ref=factories.model(), path="")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_every_registered_task_keeps_the_contract() -> None:
    for name in plugins.names("task"):
        task = plugins.load("task", name)
        for attribute in ("AUTO_CLASS", "COLUMNS", "METRICS", "HAS_TOP1", "encode", "answers", "predictions"):
            assert hasattr(task, attribute), (name, attribute)


@pytest.mark.parametrize(
    ("pooling", "wanted"), [("mean", [2.0, 3.0]), ("cls", [1.0, 5.0]), ("max", [3.0, 5.0]), ("last", [3.0, 1.0])]
)
def test_pooling_takes_real_tokens_only(pooling: str, wanted: list[float]) -> None:
    tokens = np.array([[[1.0, 5.0], [3.0, 1.0], [99.0, 99.0]]], np.float32)
    mask = np.array([[1, 1, 0]])
    model = msgspec.structs.replace(MODEL, pooling=pooling)
    found = sentence_similarity.answers({"last_hidden_state": tokens}, {"attention_mask": mask}, model)
    np.testing.assert_allclose(found, [wanted])


def test_a_graph_that_pools_by_itself_is_taken_at_its_word() -> None:
    found = sentence_similarity.answers({"sentence_embedding": np.ones((2, 4))}, {}, MODEL)
    assert found.shape == (2, 4)


def test_similarity_is_the_cosine_of_each_pair() -> None:
    answers = np.array([[1.0, 0], [2.0, 0], [1.0, 0], [0, 3.0]])
    np.testing.assert_allclose(sentence_similarity.predictions(answers, np.zeros(2)), [1.0, 0.0])


def test_a_similarity_that_is_no_number_is_named(tokenizer: Any) -> None:
    with pytest.raises(OptibenchError, match="Row 1 has the label 'high'"):
        sentence_similarity.encode([{"text": "a", "text_pair": "b", "label": "high"}], tokenizer, MODEL, 0)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (["NEGATIVE", "positive", " Positive "], [0, 1, 1]),
        ([0, 1, 1], [0, 1, 1]),
        (["0", "1", "1.0"], [0, 1, 1]),
        (["True", "False", True], [1, 0, 1]),
    ],
)
def test_labels_go_by_name_or_by_index(found: list[Any], wanted: list[float]) -> None:
    assert label_indices(found, ("NEGATIVE", "POSITIVE")) == wanted


def named(number: int, name: str) -> NamedLabel:
    label = NamedLabel(number)
    label.name = name
    return label


def test_numbers_that_the_data_set_has_names_for_go_by_name_where_the_model_has_those() -> None:
    found = [named(0, "entailment"), named(1, "contradiction")]
    assert label_indices(found, ("CONTRADICTION", "ENTAILMENT")) == [1, 0]
    assert label_indices(found, ("LABEL_0", "LABEL_1")) == [0, 1]


def test_a_model_of_one_number_is_not_judged_as_a_classifier() -> None:
    with pytest.raises(OptibenchError, match="gives one number"):
        label_indices([3.7], ("LABEL_0",))


def test_a_word_of_a_script_without_capitals_may_be_one_character() -> None:
    assert [fill_mask._is_word(text) for text in ("of", "film", "电", "影", "##s", "3")] == [
        *(False, True, True, True, False, False)
    ]


@pytest.mark.parametrize("strange", ["neutral", 2, -1, 0.5, "", None, float("nan"), float("inf"), 10**400])
def test_a_label_that_the_model_lacks_lists_both_sets(strange: Any) -> None:
    with pytest.raises(OptibenchError, match=r"Labels in the data: .*The model's labels: NEGATIVE, POSITIVE"):
        label_indices([strange, "positive"], ("NEGATIVE", "POSITIVE"))


def test_a_class_is_the_largest_logit() -> None:
    logits = text_classification.answers({"logits": np.array([[1.0, 2.0], [3.0, 0.0]])}, {}, MODEL)
    assert text_classification.predictions(logits, np.zeros(2)).tolist() == [1.0, 0.0]


def test_one_whole_word_a_text_is_masked_by_the_seed(tokenizer: Any) -> None:
    rows = [{"text": "the great film was boring"}, {"text": "?!"}, {"text": "love this story"}]
    encoded = fill_mask.encode(rows, tokenizer, MODEL, 0)
    inputs = list(encoded.inputs)
    assert len(inputs) == len(encoded.labels) == 2  # a text without a word is left out
    for one, label in zip(inputs, encoded.labels, strict=True):
        assert (one["input_ids"] == tokenizer.mask_token_id).sum() == 1
        assert one["input_ids"][one["_position"]] == tokenizer.mask_token_id
        assert tokenizer.decode([int(label)]).isalpha()
    again = fill_mask.encode(rows, tokenizer, MODEL, 0)
    assert [one["_position"] for one in again.inputs] == [one["_position"] for one in inputs]


def test_the_rank_of_the_true_word_counts_ties_against_the_model() -> None:
    answers = np.array([[0.1, 0.9, 0.5], [0.5, 0.5, 0.5]], np.float32)
    assert fill_mask.predictions(answers, np.array([2.0, 0.0])).tolist() == [1.0, 2.0]


def test_a_graphs_answers_are_all_its_floating_outputs() -> None:
    outputs = {"a": np.ones((2, 3, 2), np.float32), "ids": np.ones((2, 4), np.int64), "b": np.ones((2, 1), np.float32)}
    assert graph.answers(outputs, {"x": np.ones((2, 9))}, MODEL).shape == (2, 7)


def test_data_for_a_graph_of_unknown_purpose_say_what_to_give() -> None:
    with pytest.raises(OptibenchError, match="--task"):
        graph.encode([], None, MODEL, 0)


def test_batches_hold_inputs_of_like_length_and_come_back_in_order(tokenizer: Any, tmp_path: Path) -> None:
    from optibench.arrays import batches_of, collated, save

    inputs = [{"input_ids": np.arange(n), "attention_mask": np.ones(n, np.int64)} for n in (3, 5)]
    batch = collated(inputs, {"input_ids": 7})
    assert batch["input_ids"].tolist() == [[0, 1, 2, 7, 7], [0, 1, 2, 3, 4]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    save(tmp_path / "a.npz", [batch] * 11)
    assert len(list(batches_of(tmp_path / "a.npz"))) == 11


def test_speech_is_written_without_repeats_and_blanks_and_judged_by_words() -> None:
    from optibench.tasks import speech_recognition

    pieces = ["", " ", "a", "b"]  # the blank, the word delimiter, letters
    frames = [2, 2, 0, 2, 1, 1, 3, 3]  # aa b
    truths = {"pieces": pieces, "texts": [["aa", "b"], ["aa", "bb", "a"]]}
    found = speech_recognition.predictions([np.eye(4)[frames]] * 2, truths)
    assert found.tolist() == [0.0, 2.0]
    assert speech_recognition.word_accuracy(found[None], np.array([[2.0, 3.0]]))[0] == pytest.approx(0.6)


def test_word_errors_are_those_of_jiwer() -> None:
    import jiwer

    from optibench.tasks import speech_recognition

    right, mine = "it was a very good film", "it is a good old film"
    found = speech_recognition._errors(right.split(), mine.split()) / len(right.split())
    assert found == pytest.approx(jiwer.wer(right, mine))
    assert speech_recognition._errors(["a"], []) == 1.0
    assert speech_recognition.words_of("Don't stop -- NOW.") == ["dont", "stop", "now"]


def test_segmentation_answers_for_pixels_of_a_grid() -> None:
    from optibench.tasks import image_segmentation

    logits = np.zeros((2, 5, 100, 64), np.float32)
    logits[:, 3, 4, 2] = 1
    found = image_segmentation.answers({"logits": logits}, {}, MODEL)
    assert [one.shape for one in found] == [(25 * 32 + image_segmentation.UNCOMPARED, 5)] * 2
    assert found[0][32 + 1].argmax() == 3  # every fourth row, every second column
