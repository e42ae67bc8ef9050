"""Rows of data by role, from every kind of file, and the split that keeps calibration apart."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from optibench import data, data_files
from optibench.errors import OptibenchError

ROLES = {"text": ("text", "sentence"), "text_pair?": ("text_pair",), "label": ("label", "stars")}
ROWS = [{"sentence": "good film", "stars": "1"}, {"sentence": "bad, film", "stars": "0"}]
WANTED = [{"text": "good film", "label": "1"}, {"text": "bad, film", "label": "0"}]


def as_file(folder: Path, suffix: str) -> Path:
    path = folder / f"data{suffix}"
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS))
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    elif suffix == ".tsv":
        path.write_text("sentence\tstars\ngood film\t1\nbad, film\t0\n")
    else:
        path.write_text('sentence,stars\ngood film,1\n"bad, film",0\n')
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    assert data.rows(str(as_file(tmp_path, suffix)), ROLES, {}) == WANTED


@pytest.mark.parametrize("size", [1, 2, 7, 65_536])
def test_an_array_of_json_is_what_the_parser_makes_of_it_whole_wherever_it_is_cut(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_files, "JSON_READ", size)
    rows = [{"text": 'a "\\]},[{ \u2028 \U0001f600', "n": [1.5e3, -2, {"deep": None}]}, {"text": "", "n": 12345}, {}]
    for indent in (None, 2):
        (tmp_path / "a.json").write_text(f" \n{json.dumps(rows, indent=indent)}\n\n")
        assert list(data_files.read(str(tmp_path / "a.json"))) == rows
    (tmp_path / "a.json").write_text("[ ]")
    assert list(data_files.read(str(tmp_path / "a.json"))) == []


@pytest.mark.parametrize("size", [1, 65_536])
@pytest.mark.parametrize(
    "text", ['[{"a": 1}', '[{"a": 1},]', '[{"a": 1} {"a": 2}]', '[{"a": 1}] {}', "[", '[{"a": tru}]']
)
def test_a_damaged_array_of_json_is_told_as_by_the_parser(
    tmp_path: Path, size: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_files, "JSON_READ", size)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(json.JSONDecodeError) as wanted:
        json.loads(text)
    with pytest.raises(OptibenchError, match=re.escape(str(wanted.value).partition(":")[0])):
        data_files.read(str(tmp_path / "a.json"))


def test_an_array_of_json_is_not_read_whole(tmp_path: Path) -> None:
    """13 MB of text; what is held is a part of it, and eight bytes a row."""
    with (tmp_path / "a.json").open("w") as file:
        for number in range(20_000):
            file.write(f"{'[' if not number else ','}{json.dumps({'text': f'{number} ' * 100})}")
        file.write("]")
    tracemalloc.start()
    try:
        assert len(data_files.read(str(tmp_path / "a.json"))) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_header_in_a_comment_is_read_as_in_wordsim(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("# A collection\n# Word 1\tWord 2\tHuman (mean)\nlove\tsex\t6.77\ntiger\tcat\t7.35\n")
    columns = {"text": "Word 1", "text_pair": "Word 2", "label": "Human (mean)"}
    found = data.rows(str(path), ROLES, columns)
    assert found[0] == {"text": "love", "text_pair": "sex", "label": "6.77"}
    assert len(found) == 2


def test_a_semicolon_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes("\ufefftext;label\ngood, film;1\n".encode())
    assert data.rows(str(path), ROLES, {}) == [{"text": "good, film", "label": "1"}]


def test_plain_text_is_one_text_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    assert data.rows(str(tmp_path / "a.txt"), {"text": ("text",)}, {}) == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize("odd", ["\u2028", "\x85", "\x0c", "\x1c"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".txt"])
def test_a_rare_separator_inside_a_text_does_not_end_its_row(tmp_path: Path, suffix: str, odd: str) -> None:
    text = f"good{odd}film"
    content = {".csv": f"text,label\n{text},1\n", ".tsv": f"text\tlabel\n{text}\t1\n", ".txt": f"{text}\n"}
    usual = json.dumps({"text": text, "label": "1"}, ensure_ascii=False) + "\n"
    (tmp_path / f"a{suffix}").write_text(content.get(suffix, usual), encoding="utf-8", newline="")
    found = data.rows(str(tmp_path / f"a{suffix}"), {"text": ("text",)}, {})
    assert found == [{"text": text}]


def test_blank_lines_and_blanks_in_the_header_are_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ntext, label\n\ngood,1\n\n")
    assert data.rows(str(tmp_path / "a.csv"), ROLES, {}) == [{"text": "good", "label": "1"}]


def test_a_text_of_a_book_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "word " * 60_000 + ",1\n")
    assert len(data.rows(str(tmp_path / "a.csv"), ROLES, {})[0]["text"]) == 300_000


def test_a_quotation_mark_in_a_tsv_is_a_character(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\tlabel\n"good film\t1\nbad\t0\n')
    assert data.rows(str(tmp_path / "a.tsv"), ROLES, {})[0]["text"] == '"good film'


def test_a_column_that_the_first_row_lacks_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"label": 1, "text": "a"}\n{"text": "b", "label": 0, "text_pair": "c"}\n')
    with pytest.raises(OptibenchError, match=r"Row 1 of the data set .* has no text_pair"):
        data.rows(str(tmp_path / "a.jsonl"), ROLES, {})


def test_labels_of_the_hubs_parquet_files_know_their_names(tmp_path: Path) -> None:
    features = {"text": {"dtype": "string"}, "label": {"_type": "ClassLabel", "names": ["yes", "no"]}}
    table = pyarrow.table({"text": ["a", "b"], "label": [1, 0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    found = data.rows(str(tmp_path / "a.parquet"), ROLES, {})
    assert [row["label"].name for row in found] == ["no", "yes"]
    assert data.reference(str(tmp_path / "a.parquet"), found).count == 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"text,label\n   ,1\n", "Row 1 of the data set .* has no text"),
        ("a.jsonl", b'{"text": "a", "label": NaN}\n', "Row 1 of the data set .* has no label"),
        ("a.jsonl", b'{"text": "a", "label": [0, 2]}\n', "holds a list as label"),
        ("a.jsonl", b'{"text": {"en": "a"}, "label": 1}\n', r"holds a dict as text .*text=NAME \(it has text\.en\)"),
        ("a.csv", b"text,label\ngood\n", "Line 2 has 1 field, the header 2"),
        ("a.jsonl", b'{"text": "a\\ud83d", "label": 1}\n', "Row 1 of the data set .* holds half a character"),
        ("a.csv", b"text,text,label\na,b,1\n", "names the column 'text' twice"),
        ("a.csv", b'text,label\nfine,1\n"good" film,1\n', "Line 3: .*double the marks"),
        ("a.csv", b"text,label\ngood,1,\n", "Line 2 has 3 fields, the header 2"),
        ("a.json", b"{}", "JSON objects"),
        ("a.jsonl", b"[1]\n", "JSON objects"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text"\n', "Line 2 of a.jsonl is no JSON"),
        ("a.json", b'{"data": [{"text": "a"}]}', "Found: one object with data"),
        ("a.csv", "text,label\na,1\n".encode("utf-16"), "it is UTF-16"),
        ("a.csv", b"\x1f\x8b\x08\x00text", "packed with gzip"),
        ("a.csv", b"PK\x03\x04\xff\xff", "a spreadsheet"),
        ("a.csv.gz", b"\x1f\x8b", "Unpack it first"),
        ("a.parquet", b"not parquet", "cannot be read as parquet"),
        ("a.xlsx", b"x", "expected one of .csv"),
        ("a.csv", b"a,b\n1,2\n", "Its columns are: a, b"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OptibenchError, match=words):
        data.rows(str(tmp_path / name), ROLES, {})


def test_parts_of_an_object_are_columns(tmp_path: Path) -> None:
    """As the Hub's data sets hold translations."""
    (tmp_path / "a.jsonl").write_text('{"translation": {"en": "good", "fr": "bon"}}\n{"translation": {"en": "bad"}}\n')
    roles = {"source": ("source",), "target?": ("target", "translation")}
    with pytest.raises(OptibenchError, match=r"Its columns are: translation, translation\.en, translation\.fr"):
        data.rows(str(tmp_path / "a.jsonl"), roles, {})
    columns = {"source": "translation.en", "target": "translation.fr"}
    with pytest.raises(OptibenchError, match=r"Row 2 of .* has no target \(column 'translation\.fr'\)"):
        data.rows(str(tmp_path / "a.jsonl"), roles, columns)
    (tmp_path / "a.jsonl").write_text('{"translation": {"en": "good", "fr": "bon"}}\n')
    assert list(data.rows(str(tmp_path / "a.jsonl"), roles, columns)) == [{"source": "good", "target": "bon"}]


def test_objects_by_line_are_read_under_the_name_json_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"text": "good", "label": 1}\n{"text": "bad", "label": 0}\n')
    assert [row["text"] for row in data.rows(str(tmp_path / "a.json"), ROLES, {})] == ["good", "bad"]


def test_a_table_may_be_divided_by_bars(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text|label\ngood, really|1\n")
    assert list(data.rows(str(tmp_path / "a.csv"), ROLES, {})) == [{"text": "good, really", "label": "1"}]


def test_texts_that_parquet_holds_as_bytes_are_texts(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["é".encode()], "label": [1]}), tmp_path / "a.parquet")
    assert list(data.rows(str(tmp_path / "a.parquet"), ROLES, {})) == [{"text": "é", "label": 1}]


def test_the_byte_that_is_no_text_is_told_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\n" + b"good,1\n" * 5000 + b"caf\xe9,1\n")
    with pytest.raises(OptibenchError, match=r"is not UTF-8 text \(byte 35014\)"):
        data.rows(str(tmp_path / "a.csv"), ROLES, {})


def test_a_quotation_mark_far_down_a_tsv_changes_how_all_of_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "good\t1\n" * 5000 + 'a "film\t1\n"b\t0\n')
    assert [row["text"] for row in data.rows(str(tmp_path / "a.tsv"), ROLES, {})][-2:] == ['a "film', '"b']


def test_calibration_data_of_their_own_lose_what_is_judged(tmp_path: Path) -> None:
    candidates, judging = numbered(300), numbered(100)
    assert [row["text"] for row in data.unseen(candidates, judging, 2)] == ["text 100", "text 101"]
    assert data.unseen(judging, judging, 2) == []


def test_a_role_that_the_task_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptibenchError, match=r"roles are text, text_pair \(optional\), label"):
        data.rows(str(as_file(tmp_path, ".csv")), ROLES, {"txt": "sentence"})


def numbered(count: int) -> list[data.Row]:
    return [{"text": f"text {n}", "label": n} for n in range(count)]


def test_no_text_both_judges_and_calibrates() -> None:
    rows = [*numbered(300), *numbered(50)]  # fifty texts stand there twice
    evaluation, calibration = data.split(rows, None, 0)
    assert not {row["text"] for row in evaluation} & {row["text"] for row in calibration}
    assert 32 <= len(calibration) <= data.CALIBRATION_ROWS


def test_the_split_is_the_seeds_and_the_limit_cuts_what_judges() -> None:
    assert data.split(numbered(400), None, 1) == data.split(numbered(400), None, 1)
    assert data.split(numbered(400), None, 1) != data.split(numbered(400), None, 2)
    assert len(data.split(numbered(400), 10, 1)[0]) == 10


def test_a_small_data_set_spares_nothing() -> None:
    evaluation, calibration = data.split(numbered(100), None, 0)
    assert (len(evaluation), calibration) == (100, [])


def test_a_reference_tells_content_and_hides_the_path(tmp_path: Path) -> None:
    path = as_file(tmp_path, ".csv")
    first = data.reference(str(path), WANTED)
    assert first.id == "data.csv"
    assert first.count == 2
    assert first.sha256 != data.reference(str(path), WANTED[:1]).sha256


def test_the_default_texts_are_real_prose_and_not_twice_the_same() -> None:
    texts = data.default_texts(192)
    assert len(set(texts)) == len(texts) == 192
    assert all(len(text.split()) >= 20 for text in texts)


def test_the_names_of_a_list_of_class_labels_are_read_as_the_hub_writes_them(tmp_path: Path) -> None:
    import datasets

    tags = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "tags": datasets.List(datasets.ClassLabel(names=["O", "B-X"])),
        }
    )
    made = datasets.Dataset.from_dict({"tokens": [["a", "b"]], "tags": [[0, 1]]}, features=tags)
    made.to_parquet(tmp_path / "a.parquet")
    roles = {"tokens": ("tokens",), "tags": ("tags",)}
    (row,) = data.rows(str(tmp_path / "a.parquet"), roles, {}, ("tokens", "tags"))
    assert [tag.name for tag in row["tags"]] == ["O", "B-X"]


def test_a_list_where_one_text_is_expected_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ["a", "b"]}\n')
    with pytest.raises(OptibenchError, match="holds a list as text"):
        data.rows(str(tmp_path / "a.jsonl"), {"text": ("text",)}, {})
