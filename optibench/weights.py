"""Weight files: whether they are whole and safe to read, and their digest. No torch: headers alone are parsed."""

from __future__ import annotations

import hashlib
import json
import re
import xml.etree.ElementTree
from collections.abc import Sequence
from pathlib import Path

from optibench.cache import sha256_of_file
from optibench.errors import OptibenchError, first_line

PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
LARGEST_HEADER = 100_000_000


def checked_weights(folder: Path, allow_pickle: bool) -> list[Path]:
    """The model's weight files, each checked as far as its header goes.

    Errors: there are none; only pickles (refused unless allowed); one is missing, cut off or garbled.
    """
    # Adapters, other precisions and the like may lie beside: transformers reads these two names alone.
    index, whole = folder / "model.safetensors.index.json", folder / "model.safetensors"
    files = [whole] if whole.is_file() else _shards(index) if index.is_file() else []
    for file in files:
        check_safetensors(file)
    if files:
        return files
    pickles = sorted({file for pattern in PICKLES for file in folder.glob(pattern)})
    if not pickles:
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:12]) or "nothing"
        raise OptibenchError(
            f"{folder.name} has no weights: expected model.safetensors (or its index and shards), found {found}."
        )
    if not allow_pickle:
        raise OptibenchError(
            f"{folder.name} has its weights only as pickle ({pickles[0].name}), which can run any code when it is "
            "loaded. Convert them to safetensors, or give --allow-pickle if you trust whoever made the file."
        )
    return pickles


def _shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OptibenchError(f"{index.name} cannot be read: {first_line(error)}. Fetch the model again.") from error
    files = [index.parent / Path(str(name)).name for name in sorted(names)]
    for file in files:
        if not file.is_file():
            raise OptibenchError(
                f"The weights are not all there: {index.name} names {file.name}. Fetch the model again."
            )
    return files


POINTER = b"version https://git-lfs"


def check_content(file: Path) -> None:
    """Error: the file holds what came in its place, a pointer of Git LFS or a web page."""
    with file.open("rb") as stream:
        begin = stream.read(64).lstrip().lower()
    if begin.startswith(POINTER):
        raise OptibenchError(
            f"{file.name} is a pointer of Git LFS, not the file itself: it was cloned without its large files. Run git "
            "lfs pull in that folder, or fetch the model with the Hub's own client (hf download)."
        )
    if begin.startswith((b"<!doctype html", b"<html")):
        raise OptibenchError(f"{file.name} is a web page that was saved in the model's place. Fetch the file itself.")


def check_safetensors(file: Path) -> None:
    """Checks that the header can be read and that the file is as long as it says."""
    check_content(file)
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST_HEADER):
            raise _damaged(file, f"its header is not whole ({size} bytes in all)")
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise _damaged(file, "its header is garbled") from error
    wanted = 8 + length + max(ends, default=0)
    if size != wanted:
        raise _damaged(file, f"it has {size} bytes where its header asks for {wanted}")


def _damaged(file: Path, what: str) -> OptibenchError:
    return OptibenchError(f"{file.name} is damaged: {what}. Fetch or save the model again.")


def digest(files: Sequence[Path]) -> str:
    """sha256 of one file; of several, that of the sorted lines "NAME SHA256"."""
    if len(files) == 1:
        return sha256_of_file(files[0])
    lines = sorted(f"{file.name} {sha256_of_file(file)}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def graph_files(path: Path) -> list[Path]:
    """A finished graph's file and those that hold its weights. Errors: it cannot be parsed; weights are missing."""
    return _openvino_files(path) if path.suffix == ".xml" else _onnx_files(path)


def _openvino_files(path: Path) -> list[Path]:
    check_content(path)
    try:
        root = xml.etree.ElementTree.parse(path).getroot()  # noqa: S314 (expat expands no external entities)
    except xml.etree.ElementTree.ParseError as error:
        raise OptibenchError(f"{path.name} is not an OpenVINO model: {error}.") from error
    if root.tag != "net":
        raise OptibenchError(f"{path.name} is not an OpenVINO model: its root is <{root.tag}>, expected <net>.")
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise OptibenchError(f"{path.name} has no weights: put {weights.name} beside it.")
    check_content(weights)
    return [path, weights]


def _onnx_files(path: Path) -> list[Path]:
    try:
        import onnx
    except ImportError as error:
        raise OptibenchError("Reading an .onnx file needs onnx: pip install 'optibench[onnxruntime]'") from error
    check_content(path)
    try:
        model = onnx.load(path, load_external_data=False)
        if not model.graph.node:
            raise ValueError("it holds no graph")
    except Exception as error:  # protobuf raises its own, which has moved between versions
        raise OptibenchError(f"{path.name} is not an ONNX model that can be read: {first_line(error)}.") from error
    ends: dict[str, int] = {}
    for tensor in model.graph.initializer:
        said = {entry.key: entry.value for entry in tensor.external_data}
        if "location" in said:
            end = int(said.get("offset", 0)) + int(said.get("length", 0))
            ends[said["location"]] = max(end, ends.get(said["location"], 0))
    files = [path]
    for name, end in sorted(ends.items()):
        if Path(name).is_absolute() or ".." in Path(name).parts or re.match(r"^[a-zA-Z]:", name):
            raise OptibenchError(f"{path.name} keeps weights outside its folder ({name!r}), which is refused.")
        if not (path.parent / name).is_file():
            raise OptibenchError(f"{path.name} keeps weights in {name}, which is not beside it. Put it there.")
        check_content(path.parent / name)
        if (size := (path.parent / name).stat().st_size) < end:
            raise _damaged(path.parent / name, f"it has {size} bytes where {path.name} reads up to byte {end}")
        files.append(path.parent / name)
    return files
