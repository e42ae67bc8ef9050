"""Translation, summarization and Whisper: from rows to texts that builds write on their own, and what these score."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from optibench import data, encoder_decoder, generation_rules, models, stats
from optibench.answers import Answers
from optibench.errors import OptibenchError
from optibench.generation_rules import PROMPT
from optibench.score import scores_of
from optibench.tasks import speech_recognition, summarization, translation, written
from optibench.values import Model
from tests import factories
from tests.conftest import WORDS, Optibench, write_tokenizer
from tests.tasks.test_generation_rules import SIZES, TOKENS, write_model

QUICK = ("--rounds", "2", "--budget", "5s", "--quick", "--new-tokens", "6")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def tokens_of(tokenizer: Any, texts: list[str]) -> list[np.ndarray]:
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return written.tokens_of({written.TOKENS: ids})


def garbled(texts: list[str], share: float, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) if rng.random() < share else w for w in text.split()) for text in texts]


TEXTS = [" ".join(random.Random(seed).choices(WORDS, k=6 + seed % 9)) for seed in range(40)]


class TestScores:
    def test_bleu_and_chrf_are_those_of_sacrebleu(self, tokenizer: Any) -> None:
        import sacrebleu

        mine = garbled(TEXTS, 0.2, 0)
        truths = {"spelt": written.speller(tokenizer), "texts": TEXTS}
        predictions = translation.predictions(tokens_of(tokenizer, mine), truths)
        labels = np.ones((1, len(TEXTS)))
        bleu, chrf = sacrebleu.corpus_bleu(mine, [TEXTS]).score, sacrebleu.corpus_chrf(mine, [TEXTS]).score
        assert 20 < bleu < 90
        assert translation.bleu(predictions[None], labels)[0] == pytest.approx(bleu / 100)
        assert translation.chrf(predictions[None], labels)[0] == pytest.approx(chrf / 100)

    def test_a_build_that_writes_worse_is_told_apart_by_the_bootstrap(self, tokenizer: Any) -> None:
        truths = {"spelt": written.speller(tokenizer), "texts": TEXTS}
        good, bad = (
            translation.predictions(tokens_of(tokenizer, garbled(TEXTS, share, 1)), truths) for share in (0.1, 0.4)
        )
        low, value, high = stats.paired_change(translation.bleu, bad, good, np.ones(len(TEXTS)), resamples=200)
        assert low < value < high < 0

    def test_rouge_is_the_mean_of_rouge_score(self, tokenizer: Any) -> None:
        from rouge_score.rouge_scorer import RougeScorer

        mine = garbled(TEXTS, 0.3, 2)
        truths = {"spelt": written.speller(tokenizer), "texts": TEXTS}
        predictions = summarization.predictions(tokens_of(tokenizer, mine), truths)
        scorer = RougeScorer(["rouge2"], use_stemmer=True)
        right = np.mean([scorer.score(a, b)["rouge2"].fmeasure for a, b in zip(TEXTS, mine, strict=True)])
        assert 0 < right < 1
        assert summarization.METRICS["rouge2"](predictions[None], np.ones((1, 40)))[0] == pytest.approx(right)

    def test_special_tokens_are_not_written(self, tokenizer: Any) -> None:
        ids = [[2, *tokenizer("good film", add_special_tokens=False)["input_ids"], 3, 0, 0]]
        assert written.texts_of(written.tokens_of({written.TOKENS: ids}), written.speller(tokenizer)) == ["good film"]

    def test_bytes_that_make_a_letter_only_together_are_spelt(self) -> None:
        from tokenizers import Tokenizer, decoders
        from tokenizers import models as kinds
        from tokenizers.pre_tokenizers import ByteLevel
        from transformers import PreTrainedTokenizerFast

        raw = Tokenizer(kinds.BPE({sign: number for number, sign in enumerate(sorted(ByteLevel.alphabet()))}, []))
        raw.pre_tokenizer, raw.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
        ids = tokenizer("où 日本")["input_ids"]
        assert len(ids) == 10  # a token a byte
        assert written.texts_of([np.array(ids, np.float32)[:, None]], written.speller(tokenizer)) == ["où 日本"]


class TestRows:
    def test_a_column_that_is_missing_is_named_with_those_there_are(self, tmp_path: Path) -> None:
        (tmp_path / "pairs.csv").write_text("english,french\nyes,oui\n")
        with pytest.raises(OptibenchError, match=r"no column for source .*Its columns are: english, french"):
            data.rows(str(tmp_path / "pairs.csv"), translation.COLUMNS, {})
        found = data.rows(str(tmp_path / "pairs.csv"), translation.COLUMNS, {"source": "english", "target": "french"})
        assert found == [{"source": "yes", "target": "oui"}]

    def test_a_text_without_words_names_its_row(self, tmp_path: Path) -> None:
        (tmp_path / "pairs.csv").write_text('source,target\nyes,oui\n"  ",non\n')
        with pytest.raises(OptibenchError, match=r"Row 2 of the data set .* has no source"):
            data.rows(str(tmp_path / "pairs.csv"), translation.COLUMNS, {})

    def test_without_translations_texts_are_written_and_not_judged(
        self, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rules = generation_rules.Rules(prompt=(2,), stop=(3,), most=8)
        monkeypatch.setattr(generation_rules, "rules_of", lambda model: rules)
        model = Model(
            ref=factories.model(), path="", config={"task_specific_params": {"translation_a": {"prefix": "the "}}}
        )
        model = msgspec.structs.replace(model, ref=msgspec.structs.replace(model.ref, task="translation"))
        encoded = translation.encode([{"source": "good film"}], tokenizer, model, 0)
        (one,) = encoded.inputs
        assert tokenizer.decode(one["input_ids"], skip_special_tokens=True) == "the good film"
        assert encoded.labels == []
        assert scores_of("translation", Answers.of(np.zeros((3, 1)), [3]), encoded.labels, encoded.truths) == ()


class Listening:
    """A feature extractor with a window of a second, as Whisper's has one of thirty."""

    sampling_rate, n_samples = 16_000, 16_000

    def __call__(self, wave: np.ndarray, sampling_rate: int, return_tensors: str) -> dict[str, np.ndarray]:
        assert len(wave) <= self.n_samples
        assert sampling_rate == self.sampling_rate
        return {"input_features": np.resize(wave, (1, 4, 10))}


class TestSounds:
    MODEL = Model(ref=factories.model(), path="", config={"is_encoder_decoder": True})

    def encoded(self, folder: Path, seconds: float, rate: int, channels: int, tokenizer: Any, monkeypatch: Any) -> Any:
        import soundfile

        from optibench.media import Media
        from optibench.tasks.base import Pair

        rules = generation_rules.Rules(prompt=(2,), stop=(3,), most=8)
        monkeypatch.setattr(generation_rules, "rules_of", lambda model: rules)
        wave = np.random.default_rng(0).normal(0, 0.1, (int(seconds * rate), channels))
        soundfile.write(folder / "a.wav", wave, rate)
        rows = [{"audio": Media(folder / "a.wav", "a.wav"), "transcript": "Good, film!"}]
        return speech_recognition.encode(rows, Pair(Listening(), tokenizer), self.MODEL, 0)

    @pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1)])
    def test_a_sound_longer_than_the_window_is_heard_in_windows(
        self, tmp_path: Path, rate: int, channels: int, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoded = self.encoded(tmp_path, 2.5, rate, channels, tokenizer, monkeypatch)
        assert len(list(encoded.inputs)) == 3
        assert encoded.truths["windows"] == [3]
        parts = tokens_of(tokenizer, ["good", "bad", "film"])
        assert speech_recognition.predictions(parts, encoded.truths).tolist() == [1.0]  # a word too many
        assert speech_recognition.predictions(tokens_of(tokenizer, ["good", "film", ""]), encoded.truths)[0] == 0.0

    def test_a_short_sound_is_one_input(self, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        encoded = self.encoded(tmp_path, 0.4, 16_000, 1, tokenizer, monkeypatch)
        assert len(list(encoded.inputs)) == 1
        assert encoded.truths["windows"] == [1]


class TestTasks:
    @pytest.mark.parametrize(
        ("architecture", "settings", "task"),
        [
            ("MarianMTModel", (), "translation"),
            ("T5ForConditionalGeneration", ("summarization",), "summarization"),
            ("T5ForConditionalGeneration", ("translation_en_to_de", "translation_en_to_fr"), "translation"),
            ("T5ForConditionalGeneration", ("translation_en_to_de", "summarization"), "text2text-generation"),
            ("BartForConditionalGeneration", (), "text2text-generation"),
        ],
    )
    def test_what_a_model_rewrites_for_is_told_by_its_files(
        self, tmp_path: Path, architecture: str, settings: tuple[str, ...], task: str
    ) -> None:
        config = {"architectures": [architecture], "task_specific_params": {name: {} for name in settings}}
        assert models.inferred_task(config, tmp_path) == task

    def test_one_that_hears_writes_down_what_was_said(self, tmp_path: Path) -> None:
        (tmp_path / "preprocessor_config.json").write_text('{"feature_extractor_type": "WhisperFeatureExtractor"}')
        config = {"architectures": ["WhisperForConditionalGeneration"], "is_encoder_decoder": True}
        assert models.inferred_task(config, tmp_path) == "automatic-speech-recognition"

    def test_where_the_files_do_not_say_the_tasks_are_named(self, optibench: Optibench, tmp_path: Path) -> None:
        write_model(tmp_path, "BartForConditionalGeneration", {**SIZES, **TOKENS}, {})
        done = optibench("compare", tmp_path)
        assert done.returncode == 2
        assert "do not say what for (translation or summarization)" in done.stderr

    def test_a_decoder_without_room_says_how_much_it_has(self, tmp_path: Path) -> None:
        from optibench import host, targets
        from optibench.plan import Request, plan_of

        model = Model(
            ref=msgspec.structs.replace(factories.model(), task="translation"), path="", max_length=64,
            config={"is_encoder_decoder": True, "max_position_embeddings": 64},
        )  # fmt: skip

        def shapes(**asked: Any) -> list[tuple[str, int, int]]:
            plan = plan_of(Request(model="m", **asked), model, targets.load(), host.describe())
            return [(shape.phase, shape.length, shape.new_tokens) for shape in plan.workload.shapes]

        assert shapes() == [("prefill", 64, 0), ("decode", 64, 56)]  # each side has positions of its own
        assert shapes(lengths=(9,), new_tokens=5) == [("prefill", 9, 0), ("decode", 9, 5)]
        with pytest.raises(OptibenchError, match="room for 56 new tokens, and --new-tokens asks for 57"):
            shapes(new_tokens=57)
        with pytest.raises(OptibenchError, match="has 64 positions, so --length 65 is too long"):
            shapes(lengths=(65,))


def samples_of(rows: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    lengths = [7 + 2 * row for row in range(rows)]
    return [
        {
            "input_ids": rng.integers(5, len(WORDS), (1, length)),
            "attention_mask": np.ones((1, length), np.int64),
            PROMPT: np.array([[2, 9]]),
        }
        for length in lengths
    ]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_the_two_graphs_answer_as_the_model_does_and_share_no_weight(tmp_path: Path, form: str) -> None:
    import transformers

    from optibench.backends import onnxruntime, openvino

    write_model(tmp_path / "model", "BartForConditionalGeneration", {**SIZES, **TOKENS}, {})
    model = transformers.BartForConditionalGeneration.from_pretrained(tmp_path / "model").eval()
    samples = samples_of(6)
    encoder_decoder.write(model, form, tmp_path, samples)
    batch = encoder_decoder.second_batch(samples, 21)
    right = encoder_decoder.right_answers(model, batch)
    run = {"onnx": onnxruntime, "openvino": openvino}[form].run_decoder
    found = run(encoder_decoder.part_file(tmp_path, form, "decode"), batch)
    assert [one.shape for one in found] == [one.shape for one in right]
    assert max(float(np.abs(a - b).max()) for a, b in zip(found, right, strict=True)) < 1e-3
    assert float(np.std(right[1] - right[2])) > 0.01  # logits that did not vary would pass too
    suffix = {"onnx": "*.data", "openvino": "*.bin"}[form]
    kept = sum(file.stat().st_size for file in tmp_path.glob(suffix))
    embeddings = model.get_input_embeddings().weight.nbytes + 2 * 1026 * 32 * 4  # which encoder and decoder share
    assert kept < sum(p.nbytes for p in model.parameters()) + embeddings


def cases(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "comparison.json").read_text())["cases"]
    return found


@pytest.mark.slow
def test_a_translator_is_compared_and_judged_by_what_it_writes(optibench: Optibench, tmp_path: Path) -> None:
    from tests.fixtures import translations

    model, data = translations.write(tmp_path)
    done = optibench(
        "compare", model, "--dataset", data, "--targets", "cpu", "--backends", "onnxruntime", "--precisions",
        "fp32,int8-weights", "--length", "16", "--limit", "60", "--out", tmp_path / "run", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = cases(tmp_path / "run")
    assert {case["status"] for case in found} == {"ok"}
    scores = {case["case"]: case["scores"][0] for case in found if case["status"] == "ok"}
    assert all(score["metric"] == "bleu" for score in scores.values())
    assert scores["cpu/pytorch/fp32"]["value"] > 0.5
    assert scores["cpu/onnxruntime/fp32"]["value"] == scores["cpu/pytorch/fp32"]["value"]


@pytest.mark.slow
def test_a_whisper_is_compared_and_judged_by_what_it_writes(optibench: Optibench, tmp_path: Path) -> None:
    from tests.fixtures import tones

    model, data = tones.write(tmp_path)
    with data.open(newline="") as file:
        assert len(list(csv.reader(file))) > 30
    done = optibench(
        "compare", model, "--dataset", data, "--targets", "cpu", "--backends", "openvino", "--precisions", "fp32",
        "--limit", "30", "--out", tmp_path / "run", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    scores = {case["case"]: case["scores"][0]["value"] for case in cases(tmp_path / "run") if case["status"] == "ok"}
    assert scores["cpu/pytorch/fp32"] > 0.5
    assert scores["cpu/openvino/fp32"] == scores["cpu/pytorch/fp32"]
