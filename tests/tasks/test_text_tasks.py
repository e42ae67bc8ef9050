"""Tasks on text beyond one label a text: tags, answers, ranks, labels that were never trained."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from optibench import data
from optibench.errors import OptibenchError
from optibench.tasks import (
    question_answering,
    ranking,
    sentence_similarity,
    text_ranking,
    text_retrieval,
    token_classification,
    zero_shot_classification,
)
from optibench.tasks.base import Encoded, truths_of
from optibench.values import Model
from tests import factories
from tests.conftest import write_tokenizer

MODEL = Model(ref=factories.model(), path="")
TAGGER = msgspec.structs.replace(MODEL, labels=("O", "B-PER", "I-PER", "B-LOC"))
NLI = msgspec.structs.replace(MODEL, labels=("contradiction", "neutral", "ENTAILMENT"))


def whole(encoded: Encoded) -> Any:
    """With its inputs read, which come one at a time: what answers are judged by is whole only then."""
    return dataclasses.replace(encoded, inputs=list(encoded.inputs))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


class TestTags:
    def test_each_word_is_tagged_by_its_first_token(self, tokenizer: Any) -> None:
        # The tokenizer makes two tokens of "films!", and of the whole a token more at each end.
        rows = [{"tokens": ["good", "films!", "plot"], "tags": ["O", "B-PER", "O"]}]
        encoded = whole(token_classification.encode(rows, tokenizer, TAGGER, 0))
        (one,) = encoded.inputs
        assert one["_words"].tolist() == [0, 1, 1, 0, 1, 0]
        assert encoded.labels == [1.0]

    def test_only_the_words_logits_are_answers(self) -> None:
        logits = np.arange(2 * 3 * 2).reshape(2, 3, 2)
        found = token_classification.answers({"logits": logits}, {"_words": np.array([[0, 1, 1], [1, 0, 0]])}, TAGGER)
        assert [one.shape for one in found] == [(2, 2), (1, 2)]

    def test_f1_is_that_of_seqeval(self) -> None:
        from seqeval.metrics import f1_score

        rng = random.Random(0)
        names = ["O", "B-PER", "I-PER", "B-LOC"]
        true = [[rng.choice(names) for _ in range(rng.randint(1, 12))] for _ in range(60)]
        mine = [[tag if rng.random() < 0.7 else rng.choice(names) for tag in tags] for tags in true]
        logits = [np.eye(4)[[names.index(tag) for tag in tags]] for tags in mine]
        sentences = [{"count": len(t), "which": list(range(len(t))), "tags": t} for t in true]
        predictions = token_classification.predictions(logits, {"names": names, "sentences": sentences})
        labels = np.array([float(len(token_classification._entities(tags))) for tags in true])
        found = token_classification.f1(predictions[None], labels[None])[0]
        assert found == pytest.approx(f1_score(true, mine))

    def test_words_that_were_cut_off_count_as_untagged(self, tokenizer: Any) -> None:
        short = msgspec.structs.replace(TAGGER, max_length=4)
        rows = [{"tokens": ["good", "film", "plot", "music"], "tags": ["O", "O", "O", "B-LOC"]}]
        encoded = whole(token_classification.encode(rows, tokenizer, short, 0))
        logits = [np.eye(4)[[0] * int(one["_words"].sum())] for one in encoded.inputs]
        assert len(logits[0]) == 2
        assert token_classification.predictions(logits, encoded.truths).tolist() == [[0.0, 0.0]]

    def test_a_tag_that_the_model_lacks_lists_both_sets(self, tokenizer: Any) -> None:
        with pytest.raises(OptibenchError, match=r"Labels in the data: B-ORG, O.*model's labels: O, B-PER"):
            token_classification.encode([{"tokens": ["a", "b"], "tags": ["O", "B-ORG"]}], tokenizer, TAGGER, 0)

    @pytest.mark.parametrize(("tags", "said"), [([], "holds an empty list as tags"), (3, "holds no list as tags")])
    def test_tags_that_are_none_are_called_what_they_are(self, tokenizer: Any, tags: Any, said: str) -> None:
        with pytest.raises(OptibenchError, match=said):
            token_classification.encode([{"tokens": ["a"], "tags": tags}], tokenizer, TAGGER, 0)

    def test_a_wrong_row_is_called_by_its_number_in_the_file(self, tokenizer: Any, tmp_path: Path) -> None:
        lines = [{"tokens": ["good", "film", str(number)], "tags": ["O"] * 3} for number in range(200)]
        rows = tmp_path / "rows.jsonl"
        rows.write_text("\n".join(map(json.dumps, lines)))
        judging, _ = data.split(data.rows(str(rows), token_classification.COLUMNS, {}, ("tokens", "tags")), None, 0)
        wrong = judging[100]["tokens"][2]  # some rows before it are held out
        assert int(wrong) > 110
        lines[int(wrong)]["tags"].pop()
        rows.write_text("\n".join(map(json.dumps, lines)))
        judging, _ = data.split(data.rows(str(rows), token_classification.COLUMNS, {}, ("tokens", "tags")), None, 0)
        with pytest.raises(OptibenchError, match=f"Row {int(wrong) + 1} has 3 tokens and 2 tags"):
            whole(token_classification.encode(judging, tokenizer, TAGGER, 0))

    def test_as_many_tags_as_tokens_are_asked_for(self, tokenizer: Any) -> None:
        with pytest.raises(OptibenchError, match="Row 1 has 2 tokens and 1 tags"):
            whole(token_classification.encode([{"tokens": ["a", "b"], "tags": ["O"]}], tokenizer, TAGGER, 0))

    def test_rows_may_be_words_divided_by_spaces(self, tokenizer: Any) -> None:
        encoded = whole(token_classification.encode([{"tokens": "good film", "tags": "O B-PER"}], tokenizer, TAGGER, 0))
        assert encoded.labels == [1.0]


class TestAnswers:
    def encoded(self, tokenizer: Any, answers: Any = "bad film", length: int | None = None) -> Any:
        row = {
            "question": "what was it",
            "context": "it was a bad film and a good story" + " with music" * 6,
            "answers": answers,
        }
        model = msgspec.structs.replace(MODEL, max_length=length)
        return whole(question_answering.encode([row], tokenizer, model, 0))

    def logits_for(self, encoded: Any, begin: int, end: int) -> list[np.ndarray]:
        """Logits that are largest where the context has these characters."""
        (windows,) = [truth["windows"] for truth in encoded.truths]
        return [
            np.array(
                [[place is not None and place[0] == begin, place is not None and place[1] == end] for place in places],
                float,
            )
            for places in windows
        ]

    @pytest.mark.parametrize("length", [None, 16])
    def test_the_span_is_read_off_the_context_also_in_windows(self, tokenizer: Any, length: int | None) -> None:
        encoded = self.encoded(tokenizer, length=length)
        assert len(encoded.inputs) == (1 if length is None else len(encoded.truths[0]["windows"]))
        assert length is None or len(encoded.inputs) > 1
        found = question_answering.predictions(self.logits_for(encoded, 9, 17), encoded.truths)
        assert found.tolist() == [[1.0, 1.0]]

    def test_contexts_and_places_wait_on_disk_and_score_the_same(self, tokenizer: Any, tmp_path: Path) -> None:
        encoded = self.encoded(tokenizer, length=16)
        facts = json.loads(json.dumps(encoded.facts(True, tmp_path)))
        assert facts == {"labels": [1.0], "truths_in": "truths.jsonl"}
        truths, logits = truths_of(facts, tmp_path), self.logits_for(encoded, 9, 17)
        for _ in range(2):  # the builds of a run are judged one after the other
            assert question_answering.predictions(logits, truths).tolist() == [[1.0, 1.0]]
        assert encoded.facts(False, tmp_path) == {"labels": []}

    def test_part_of_an_answer_scores_by_the_words_in_common(self, tokenizer: Any) -> None:
        encoded = self.encoded(tokenizer)
        found = question_answering.predictions(self.logits_for(encoded, 13, 17), encoded.truths)
        assert found[0].tolist() == [0.0, pytest.approx(2 / 3)]

    def test_an_end_before_its_begin_is_no_answer(self) -> None:
        both = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 0.0]])
        assert question_answering.best_span([both], [[None, (0, 4), (5, 9)]], "good film") in ("good", "film")

    def test_no_answer_is_right_where_nothing_answers(self, tokenizer: Any) -> None:
        encoded = self.encoded(tokenizer, {"text": [], "answer_start": []})
        logits = self.logits_for(encoded, 9, 17)
        assert question_answering.predictions(logits, encoded.truths)[0].tolist() == [0.0, 0.0]
        logits[0][0] = 5.0
        assert question_answering.predictions(logits, encoded.truths)[0].tolist() == [1.0, 1.0]

    @pytest.mark.parametrize(
        ("mine", "right", "f1"),
        [("The cat.", "cat", 1.0), ("", "", 1.0), ("", "cat", 0.0), ("a big cat", "the cat sat", 0.5)],
    )
    def test_answers_are_compared_as_squads_script_does(self, mine: str, right: str, f1: float) -> None:
        assert question_answering.f1_of(mine, right) == f1

    def test_a_question_longer_than_the_window_is_cut(self, tokenizer: Any) -> None:
        row = {"question": "film " * 400, "context": "a good film"}
        encoded = question_answering.encode([row], tokenizer, msgspec.structs.replace(MODEL, max_length=64), 0)
        assert all(len(one["input_ids"]) <= 64 for one in encoded.inputs)


class TestRanks:
    def test_the_best_order_scores_one_and_ties_count_against_the_model(self) -> None:
        assert ranking.of_query([0, 2, 1], [0.1, 0.9, 0.5]) == (1.0, 1.0, 1.0)
        assert ranking.of_query([1, 0, 0], [0.5, 0.5, 0.5])[2] == pytest.approx(1 / 3)

    def test_what_lies_beyond_the_tenth_is_not_found(self) -> None:
        relevance = [0.0] * 12 + [1.0]
        assert ranking.of_query(relevance, list(range(13, 0, -1))) == (0.0, 0.0, 0.0)

    def test_a_query_is_an_example_with_all_its_rows(self, tokenizer: Any) -> None:
        rows = [
            {"query": "good film", "document": "great movie", "label": 1},
            {"query": "bad plot", "document": "boring story", "label": 0},
            {"query": "good film", "document": "python function", "label": 0},
            {"query": "bad plot", "document": "music", "label": 2},
        ]
        encoded = text_ranking.encode(rows, tokenizer, MODEL, 0)
        assert len(list(encoded.inputs)) == 4
        assert encoded.labels == [1.0, 1.0]
        right = text_ranking.predictions(np.array([[1.0], [0.0], [0.0], [1.0]]), encoded.truths)
        assert right.tolist() == [[1.0, 1.0, 1.0]] * 2

    def test_a_relevance_that_is_no_number_names_the_row(self, tokenizer: Any) -> None:
        with pytest.raises(OptibenchError, match="Row 1 has the label 'yes'"):
            text_ranking.encode([{"query": "a", "document": "b", "label": "yes"}], tokenizer, MODEL, 0)

    def test_retrieval_ranks_every_document_for_every_query(self, tokenizer: Any) -> None:
        rows = [{"query": "film", "document": "movie"}, {"query": "code", "document": "python"}]
        encoded = text_retrieval.encode(rows, tokenizer, MODEL, 0)
        assert len(list(encoded.inputs)) == 4  # two queries, then two documents
        answers = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1], [0.1, 2.0]])
        assert text_retrieval.predictions(answers, encoded.truths).tolist() == [[1.0, 1.0, 1.0]] * 2
        swapped = text_retrieval.predictions(answers[[0, 1, 3, 2]], encoded.truths)
        assert (swapped < 1).any()

    def test_a_querys_rows_are_never_split_between_judging_and_calibrating(self) -> None:
        from optibench.data import split

        rows = [{"query": f"q{n // 4}", "document": f"d{n}", "label": 0} for n in range(400)]
        evaluation, calibration = split(rows, None, 0, "query")
        assert calibration
        assert not {row["query"] for row in evaluation} & {row["query"] for row in calibration}
        limited, _ = split(rows, 10, 0, "query")
        assert len(limited) == 8  # whole queries


class TestZeroShot:
    ROWS = ({"text": "a good film", "label": "film"}, {"text": "python object", "label": "code"})

    def test_every_text_meets_every_label_of_the_data(self, tokenizer: Any) -> None:
        encoded = zero_shot_classification.encode(self.ROWS, tokenizer, NLI, 0)
        assert len(list(encoded.inputs)) == 4
        assert encoded.labels == [1.0, 0.0]  # of code and film

    def test_the_most_entailed_label_is_the_answer(self) -> None:
        answers = np.array([[0, 0, 0.1], [0, 0, 0.9], [9.0, 0, 0.8], [9.0, 0, 0.2]])
        truths = {"entailment": 2, "candidates": 2}
        assert zero_shot_classification.predictions(answers, truths).tolist() == [1.0, 0.0]

    def test_a_model_that_knows_no_entailment_names_its_labels(self, tokenizer: Any) -> None:
        with pytest.raises(OptibenchError, match=r"entailment.*labels: O, B-PER"):
            zero_shot_classification.encode(self.ROWS, tokenizer, TAGGER, 0)

    def test_one_label_is_no_choice(self, tokenizer: Any) -> None:
        with pytest.raises(OptibenchError, match="two to choose from"):
            zero_shot_classification.encode(self.ROWS[:1], tokenizer, NLI, 0)


@pytest.mark.parametrize("label", ["nan", "inf", "alike"])
def test_a_similarity_that_is_no_number_names_its_row(tokenizer: Any, label: str) -> None:
    rows = [{"text": "good", "text_pair": "bad", "label": one} for one in ("1", label)]
    with pytest.raises(OptibenchError, match="Row 2 has the label"):
        sentence_similarity.encode(rows, tokenizer, TAGGER, 0)
