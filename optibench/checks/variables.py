"""Variables of the environment that decide how native libraries run: threads, places, instructions, preloads.

Workers inherit them, but for those that a target sets itself (OMP_, MKL_ and OPENBLAS_NUM_THREADS, in its [env]).
Sources: the OpenMP specification and GCC's libgomp manual (OMP_*, GOMP_*); Intel's compiler guide (KMP_*); oneDNN's
"CPU Dispatcher Control" and "Floating-point math mode"; PyTorch's ATen/native/cpu/README; OpenBLAS's user manual.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from optibench import host
from optibench.checks.base import cores_from_text, text_from_cores
from optibench.values import Finding

COUNTS = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS")
PLACES = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND")
WAITING = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")
CODE = (
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE"),
)
NO_LIMIT = ("all", "default", "strict", "")
LONG_WAIT_MILLISECONDS = 200
"""KMP_BLOCKTIME's own default."""


def counts(env: Mapping[str, str], cores: int) -> Finding:
    """Thread counts that are asked for, beside the ``cores`` that may be used."""
    given = {name: env[name] for name in COUNTS if env.get(name)}
    # OMP_NUM_THREADS may be a list, a number for each level of nesting. A limit above the cores limits nothing.
    firsts = {name: text.split(",")[0].strip() for name, text in given.items()}
    other = [
        name for name, n in firsts.items() if n != str(cores) and not (name == "OMP_THREAD_LIMIT" and _over(n, cores))
    ]
    return Finding(
        name="thread counts",
        found=_listed(given) + (f" for {cores} cores" if other else ""),
        fine=not other,
        costs=f"optibench's targets start workers with {cores} threads whatever OMP_, MKL_ and OPENBLAS_NUM_THREADS "
        "say, so a program with these variables runs at another speed than is reported."
        if other
        else "",
        mend=f"unset {' '.join(other)}, or give optibench as many cores: taskset -c LIST optibench ..."
        if other
        else "",
    )


def places(env: Mapping[str, str], cores: tuple[int, ...]) -> Finding:
    """Whether threads are bound to cores, and to ones that this process may not use."""
    given = {name: env[name] for name in PLACES if env.get(name)}
    listed = [env.get("GOMP_CPU_AFFINITY", ""), *re.findall(r"proclist=\[([^\]]*)\]", env.get("KMP_AFFINITY", ""))]
    outside = {core for text in listed for core in cores_from_text(text)} - set(cores)
    return Finding(
        name="thread places",
        found=_listed(given),
        fine=not outside,
        costs=f"Threads are bound to cores ({text_from_cores(outside)}) that this process may not use: they pile up on "
        "the others."
        if outside
        else "",
        mend=f"unset {' '.join(name for name in PLACES[:2] if name in given)}, or name cores among "
        f"{text_from_cores(cores)}."
        if outside
        else "",
    )


def waiting(env: Mapping[str, str]) -> Finding:
    """Whether idle threads are told to spin for long."""
    given = {name: env[name] for name in WAITING if env.get(name)}
    block = env.get("KMP_BLOCKTIME", "").strip().lower().removesuffix("ms")
    spins = (
        env.get("OMP_WAIT_POLICY", "").strip().lower() == "active"
        or block == "infinite"
        or _over(block, LONG_WAIT_MILLISECONDS + 1)
        or env.get("GOMP_SPINCOUNT", "").strip().lower() in ("infinity", "infinite")
    )
    return Finding(
        name="idle threads",
        found=_listed(given),
        fine=not spins,
        costs="Threads burn the cores while another case has its turn, and turns take longer to begin."
        if spins
        else "",
        mend=f"unset {' '.join(given)}" if spins else "",
    )


def code(env: Mapping[str, str]) -> Finding:
    """Variables that keep libraries from instructions that the processor has, or change their precision."""
    given = {name: env[name] for name in CODE if env.get(name, "").strip().lower() not in NO_LIMIT}
    return Finding(
        name="instruction variables",
        found=_listed(given),
        fine=not given,
        costs="Libraries run other code than they would choose for this processor: figures hold for this setting alone."
        if given
        else "",
        mend=f"unset {' '.join(given)}" if given else "",
    )


def preloaded(env: Mapping[str, str]) -> Finding:
    """Libraries that are put before all others (allocators, OpenMP runtimes), by name: it tells two runs apart."""
    names = [PurePath(part).name for part in re.split(r"[ :]+", env.get("LD_PRELOAD", "")) if part]
    return Finding(name="preloaded libraries", found=", ".join(names) or "none", fine=True)


def _over(number: str, least: int) -> bool:
    return number.isdigit() and int(number) >= least


def _listed(given: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "none set"


def look() -> Iterator[Finding]:
    """This process's."""
    yield counts(os.environ, host.usable_cores())
    yield places(os.environ, host.affinity())
    yield waiting(os.environ)
    yield code(os.environ)
    yield preloaded(os.environ)
