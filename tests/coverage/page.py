"""docs/coverage.md from the cells that the sweep kept: ``python -m tests.coverage.page``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from optibench import host
from tests.coverage.sweep import CELLS, KEPT, LEAST, LIMIT_SECONDS, PACKAGES, Cell, kept
from tests.coverage.zoo import TRIED, UNSEEN, ZOO

DOCS = Path(__file__).parent.parent.parent / "docs" / "coverage.md"
INTRO = f"""# Which architectures work

Small models of {len(ZOO)} architectures, random weights made from their configs, each taken the way that
`optibench compare` takes a checkpoint: its task told by its files, inputs by its own processor, exported, checked on a
second shape, quantized, run, and its answers compared with PyTorch's. Rules decide how a model is exported, never its
name: {len(TRIED)} of these were looked at while the rules were made, the other {len(UNSEEN)} were picked from
transformers' list afterwards and nothing was done for them.

    tox -e coverage-models                  # what is not in reports/coverage yet; this page is written anew
    tox -e coverage-models -- --shard 1/4   # every fourth architecture
    tox -e coverage-models -- --failed      # what failed, once more
    tox -e coverage-models -- BERT Swin     # these, once more

A number is the mean cosine of the answers to PyTorch's in fp32, both less the mean answer, so that outputs that hardly
vary do not look alike for that. A cell works if it reaches {LEAST["fp32"]} in fp32, {LEAST["int8-weights"]} with int8
weights (nine tenths of the answers' variance) and {LEAST["int8"]} in int8 (three quarters): random weights are the
hardest there are to quantize, and all this says is that the build is what it should be. What int8 costs a trained model
only its own data tell. A dash is a cell that does not work; why is said below the table. Each cell has
{LIMIT_SECONDS} seconds of processor time. "?" has not been run yet. A dagger (†) is a graph of one length: the model's
code counts tokens while it is exported, so that texts are filled up to the longest in it (docs/tasks.md).
"""
SHARES = {"fp32": ("onnxruntime/fp32", "openvino/fp32"), "int8": tuple(c for c in CELLS if "int8" in c)}
"""PyTorch's fp32 is what the others are compared with, so it does not count."""

DYING = "OpenVINO's int8 convolutions end the process where a kernel is wider than the map, as in these small pictures."
UPSTREAM = {
    # Why, where it is a library's own code, and none of ours, that decides it.
    "BigBird, sparse attention": "its blocks are counted, and its random ones drawn, for the length that is traced, and"
    " it reads short texts otherwise than long ones.",
    "BiT": "its convolutions standardize their weights at each call, and NNCF finds no constant ones in ONNX.",
    "Falcon": "torchao's integer tensors have no transpose as Falcon's own linear layers write it (weight.T).",
    "Mamba": "torchao's integer tensors have no product as its code writes it.",
    "ALIGN": DYING,
    "MobileViT v2": DYING,
    "PP-LCNet": DYING,
    "HGNet V2": DYING,
    "NeoMME": "torchao's integer tensors have no product as its code writes it.",
    "Reformer": "it loops over the rows of a batch, and asks the data which positions and hashes there are.",
    "SigLIP 2": "its code resizes positions row by row, by sizes that the data tell.",
}
Found = Mapping[tuple[str, str], Cell]


def shares(found: Found) -> list[str]:
    """How many cells work, of those that were looked at and of those that were not."""
    lines = ["| | architectures | fp32 cells | int8 cells |", "|---|---|---|---|"]
    for title, zoo in (("looked at", TRIED), ("picked afterwards", UNSEEN), ("all", tuple(ZOO.values()))):
        counts = []
        for cells in SHARES.values():
            mine = [found[one.name, cell] for one in zoo for cell in cells if (one.name, cell) in found]
            works = sum(cell.works for cell in mine)
            counts.append(f"{works} of {len(mine)} ({works / max(1, len(mine)):.1%})")
        lines.append(f"| {title} | {len(zoo)} | {' | '.join(counts)} |")
    return lines


def table(found: Found) -> list[str]:
    heads = [cell.replace("/", " ") for cell in CELLS[1:]]
    lines = ["| architecture | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    group = ""
    for one in sorted(ZOO.values(), key=lambda one: (one.group, one.name.lower())):
        if one.group != group:
            group = one.group
            lines.append(f"| **{group}** |" + " |" * len(heads))
        cells = [_shown(found.get((one.name, cell))) for cell in CELLS[1:]]
        lines.append(f"| {one.name}{' *' if one in UNSEEN else ''} | " + " | ".join(cells) + " |")
    return lines


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "?"
    if not cell.works or cell.cosine is None:
        return "–"
    return f"{cell.cosine:.4f}{' †' if cell.longest else ''}"


def reasons(found: Found) -> Iterable[str]:
    """Why cells do not work: one line for all cells of an architecture with the same reason."""
    for one in sorted(ZOO.values(), key=lambda one: one.name.lower()):
        cells: dict[str, list[str]] = {}
        for name in CELLS:
            cell = found.get((one.name, name))
            if cell and not cell.works:
                far = cell.cosine is not None
                cells.setdefault("too far from PyTorch's answers" if far else cell.reason, []).append(
                    f"{name} ({cell.cosine:.3f})" if far else name
                )
        for reason, names in cells.items():
            yield f"- **{one.name}**, {', '.join(names)}: {_plain(reason)}"
        if cells and one.name in UPSTREAM:
            yield f"  Upstream: {UPSTREAM[one.name]}"


def _plain(reason: str) -> str:
    """As short as a line, and harmless in Markdown."""
    cut = reason if len(reason) <= 240 else reason[:237] + "..."
    for sign in "<>|*_`[]":
        cut = cut.replace(sign, f"\\{sign}")
    return cut


def write(file: Path = DOCS, cells: Path = KEPT) -> None:
    found = kept(cells)
    versions = host.package_versions(PACKAGES)
    dates = sorted({cell.date for cell in found.values()})
    lines = [INTRO, *shares(found), "", *table(found), ""]
    if UNSEEN:
        lines += ["\\* picked afterwards.", ""]
    lines += ["## What does not work, and why", "", *reasons(found), ""]
    lines += [
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}; "
        + ", ".join(f"{k} {v}" for k, v in versions.items())
        + "."
    ]
    file.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write()
