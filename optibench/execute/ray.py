"""A whole run on a node of a Ray cluster: ``optibench compare ... --execute ray[:ADDRESS]``.

Cases are compared by turns on one machine, so it is the run that travels, not its workers: one actor takes all cores
(and GPUs) of one node, runs the same command there, and sends the run's folder back. Targets, host, cache and artifacts
are that node's. Model and data must be there under the name given: a Hub id, a package, a path that both machines see.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from optibench.errors import NothingMeasured, OptibenchError, first_line
from optibench.worker import die_with_parent

RESULT_CODES = {0: None, 3: NothingMeasured}
"""Exit codes of the command that leave a run's folder worth sending back."""


class Runner:
    """On the node: the command in a process of its own. Made into a Ray actor by ``run_there``."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="optibench-ray-")
        self.run = Path(self.folder.name) / "run"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "optibench.cli", *arguments, "--out", str(self.run)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,  # the actor may be killed, and must leave nothing behind
        )

    def line(self) -> str:
        """The next line of progress, waited for asleep; "" at the end."""
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def result(self) -> tuple[int, bytes]:
        """The command's exit code, and the run's folder as a tar file."""
        code = self.process.wait()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            if self.run.is_dir():
                archive.add(self.run, arcname=".")
        return code, packed.getvalue()


def run_there(arguments: Sequence[str], address: str | None, out: Path, say: Callable[[str], None]) -> None:
    """Runs ``optibench ARGUMENTS`` on the largest node of the cluster at ``address`` (None: the one that Ray finds, or
    one started here), and unpacks the run's folder into ``out``.

    Raises OptibenchError or NothingMeasured, as the command does here.
    """
    ray = _ray()
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
    except Exception as error:  # ray and grpc raise whatever they meet
        raise OptibenchError(f"Ray cannot be reached at {address or 'any address'}: {first_line(error)}.") from error
    try:
        node = max((n for n in ray.nodes() if n["Alive"]), key=lambda n: n["Resources"].get("CPU", 0.0))
        say(f"waiting for all of the Ray node {node['NodeManagerHostname']}")
        actor = _actor(ray, node).remote(list(arguments))
        last = ""
        while line := ray.get(actor.line.remote()):
            last = line.strip() or last
            say(last)
        code, packed = ray.get(actor.result.remote())
    except ray.exceptions.RayError as error:
        raise OptibenchError(f"The run on Ray ended early: {first_line(error)}.") from error
    finally:
        ray.shutdown()  # ends the actor, and with it the command
    if code in RESULT_CODES:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(out, filter="data")
    if code:
        raise (RESULT_CODES.get(code) or OptibenchError)(last.removeprefix("Error: "))


def _actor(ray: Any, node: dict[str, Any]) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
    cores, gpus = (node["Resources"].get(name, 0.0) for name in ("CPU", "GPU"))
    return ray.remote(Runner).options(num_cpus=cores, num_gpus=gpus, scheduling_strategy=here)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise OptibenchError("--execute ray needs Ray: pip install 'optibench[ray]'") from error
    return ray


def arguments_there(arguments: Sequence[str]) -> list[str]:
    """The command's arguments without those that are this machine's: --execute, --out and --json."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        name = word.partition("=")[0]
        if name == "--json":
            continue
        if name in ("--execute", "--out"):
            if name == word:
                next(words, None)
            continue
        kept.append(word)
    return kept
