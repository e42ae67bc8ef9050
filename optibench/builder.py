"""The builder: one process that makes inputs and artifacts for one model, where torch and the exporters live.

Apart from the parent, so that a crash or a lack of memory while exporting is one failed case; started only when
something is not in the cache; alive through a run, so that the model is loaded once. Same protocol as worker.py.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from optibench import plugins
from optibench.cache import Cache
from optibench.errors import CaseFailed, OptibenchError, Unsupported, first_line
from optibench.values import Build, Model, Shape, Value, Workload
from optibench.worker import die_with_parent


class MakeInputs(Value, frozen=True, kw_only=True, tag="inputs"):
    """Make the inputs' cache entry of a model and workload."""

    cache: str
    model: Model
    workload: Workload


class Prepare(Value, frozen=True, kw_only=True, tag="prepare"):
    """Build one artifact."""

    cache: str
    build: Build


class Count(Value, frozen=True, kw_only=True, tag="count"):
    """Count the model's multiply-adds at each shape of the inputs' folder."""

    cache: str
    model: Model
    inputs: str
    shapes: tuple[Shape, ...]


Request = MakeInputs | Prepare | Count


def answer(request: Request, say: Callable[[str], None]) -> dict[str, Any]:
    """The reply to one request: what was made, or the error and its kind. ``say`` is told what a person should hear
    meanwhile."""
    cache = Cache(Path(request.cache), say)
    try:
        match request:
            case MakeInputs(model=model, workload=workload):
                from optibench import inputs

                rows = inputs.rows_of(model, workload)
                recipe = inputs.recipe(model, workload, rows.sources)
                cache.get_or_make("inputs", recipe, lambda folder: inputs.make(folder, model, workload, rows))
                return {}
            case Prepare(build=build):
                backend = plugins.load("backend", build.backend)
                if reason := backend.probe(build.target):  # the parent asked this of its own environment alone
                    raise Unsupported(reason)
                artifact = backend.prepare(build, cache)
                return {"artifact": msgspec.to_builtins(artifact)}
            case Count(model=model, inputs=folder, shapes=shapes):
                from optibench import arithmetic

                recipe = arithmetic.recipe(model, shapes)
                cache.get_or_make("arithmetic", recipe, lambda _: arithmetic.count(model, Path(folder), shapes))
                return {}
    except Unsupported as error:
        return {"error": str(error), "kind": "skipped"}
    except CaseFailed as error:
        traceback.print_exc()
        return {"error": str(error), "kind": "failed"}
    except OptibenchError as error:
        return {"error": str(error), "kind": "wrong"}
    except Exception as error:
        traceback.print_exc()
        return {"error": first_line(error), "kind": "failed"}


def main() -> None:
    """The process: ``builder.py REQUEST_FD REPLY_FD``."""
    die_with_parent()
    requests = os.fdopen(int(sys.argv[1]), "rb")
    replies = os.fdopen(int(sys.argv[2]), "wb", buffering=0)
    decoder = msgspec.json.Decoder(Request)

    def reply(value: dict[str, Any]) -> None:
        replies.write(msgspec.json.encode(value) + b"\n")

    for line in requests:
        reply(answer(decoder.decode(line), lambda text: reply({"saying": text})))
    os._exit(0)


if __name__ == "__main__":
    main()
