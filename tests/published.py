"""A finished run whose recommended build is a real graph in a real cache: what there is to publish, quickly made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from optibench import store
from optibench.cache import Cache
from optibench.plan import Plan, Request
from optibench.strict_json import strict_json
from optibench.values import Artifact, Case, Model, ModelRef, Record, Workload
from tests.conftest import WORDS, write_tokenizer
from tests.hub.server import Hub
from tests.leaderboard.made import INT8, records_of, write_run

TOKEN = "hf_" + "secret" * 5
COMMIT = "1234567890abcdef1234567890abcdef12345678"
"""The commit of the model on the Hub that the build was made of."""
WIDTH = 2500


def hub_env(hub: Hub, home: Path, **more: str) -> dict[str, str]:
    """What makes huggingface_hub's client talk to this Hub alone, with a cache of its own."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": hub.token,
        "PATH": os.environ["PATH"],
        **more,
    }


def write_classifier(folder: Path) -> dict[str, Any]:
    """A classifier as a graph: a word's vector, their mean. Its weights lie beside it, and are a large file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.random.default_rng(0).normal(size=(len(WORDS) + 5, 2)).astype(np.float32)
    wide = np.zeros((2, WIDTH), np.float32), np.random.default_rng(1).normal(size=(WIDTH, 200)).astype(np.float32)
    weights = {"table": table, "wide": wide[0], "back": wide[1], "axes": np.array([1], np.int64)}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("ReduceMean", ["vectors", "axes"], ["logits"], keepdims=0),
        helper.make_node("MatMul", ["wide", "back"], ["unused"]),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "classifier", [ids], [logits], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    where = "model.onnx.data"
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location=where, size_threshold=1000)
    return {}


def published_records(artifact: Artifact, ref: ModelRef, **changes: Any) -> list[Record]:
    """Records in which INT8 is the fastest, and as accurate as the reference."""
    found = records_of(model=ref, **changes)
    return [msgspec.structs.replace(r, artifact=artifact if r.case == INT8 else None) for r in found]


def write_published(root: Path, name: str = "run", ref: dict[str, Any] | None = None, **changes: Any) -> Path:
    """The run's folder ``root/name``, its model in ``root/model``, its build in the cache ``root/cache``."""
    model_folder = root / "model"
    if not model_folder.exists():
        write_tokenizer(model_folder)
        (model_folder / "config.json").write_text('{"model_type": "bert"}')
    recipe = {"form": "onnx", "precision": "int8", "task": "text-classification"}
    entry = Cache(root / "cache").get_or_make("quantize", recipe, write_classifier)
    artifact = Artifact(
        format="onnx",
        path=str(root / "cache" / "entries" / entry.key / "model.onnx"),
        sha256=entry.sha256,
        bytes=entry.bytes,
        recipe=recipe,
    )
    told = ModelRef(
        **{
            "id": "author/classifier",
            "revision": COMMIT,
            "task": "text-classification",
            "source": "hub",
            "weights_sha256": "ab" * 32,
            **(ref or {}),
        }
    )
    records = published_records(artifact, told, **changes)
    run = write_run(root / name, records, command=f"optibench compare {model_folder} --token {TOKEN}")
    plan = Plan(
        request=Request(model="author/classifier"),
        model=Model(ref=told, path=str(model_folder), config={"model_type": "bert"}),
        workload=Workload(shapes=records[0].workload.shapes),
        targets=(),
        cases=(),
        reference=Case(target="cpu", backend="pytorch", precision="fp32"),
    )
    (run / store.PLAN).write_bytes(strict_json({"plan": msgspec.to_builtins(plan)}))
    return run
