"""The processor: clocks, cores that are halves of others, memory of another socket, instructions.

Sources: the kernel's admin guide ("CPU Performance Scaling", "intel_pstate", "amd-pstate", "Simultaneous
Multithreading" in the hardware-vulnerabilities part); LLVM's "Benchmarking tips" and Google Benchmark's "Reducing
Variance" (governor, turbo); PyTorch's "Performance Tuning Guide" (hyper-threads, NUMA). The figures for int8 are peaks,
from A. Rodriguez and others, "Lower Numerical Precision Deep Learning Inference and Training" (Intel, 2018: 1.33 times
fp32 without VNNI, 4 times with it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from optibench import host
from optibench.checks.base import absent, cores_from_text, distinct, text_from_cores
from optibench.values import Finding


def governor(texts: Mapping[int, str]) -> Finding:
    """How clocks are chosen; ``texts`` is each core's scaling_governor."""
    name, found = "governor", distinct(texts)
    if not found:
        return absent(name)
    fine = found == "performance"
    return Finding(
        name=name,
        found=found,
        fine=fine,
        costs="" if fine else "Clocks follow the load, and latencies vary: a burst after a pause begins slowly.",
        mend="" if fine else "Set it with: cpupower frequency-set -g performance",
    )


def turbo(no_turbo: str, boost: str) -> Finding:
    """Whether clocks may rise above the rated one; Intel's driver says it by ``no_turbo``, others by ``boost``."""
    name = "turbo"
    states = {("0", True): "on", ("1", True): "off", ("1", False): "on", ("0", False): "off"}
    found = states.get((no_turbo.strip(), True)) or states.get((boost.strip(), False))
    if found is None:
        return absent(name)
    if found == "off":
        return Finding(name=name, found=found, fine=True)
    off = (
        "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo"
        if no_turbo.strip()
        else "echo 0 > /sys/devices/system/cpu/cpufreq/boost"
    )
    return Finding(
        name=name,
        found=found,
        fine=False,
        costs="Clocks depend on heat and on how many cores are busy: latencies drift; ratios of turns suffer less.",
        mend=f"To compare latencies of different days, as root: {off}",
    )


def siblings(texts: Mapping[int, str]) -> Finding:
    """Cores in use that are two threads of one core; ``texts`` is each one's thread_siblings_list."""
    name = "SMT siblings"
    if not any(text.strip() for text in texts.values()):
        return absent(name)
    firsts = {min(set(cores_from_text(text)) & set(texts), default=core) for core, text in texts.items()}
    if len(firsts) == len(texts):
        return Finding(name=name, found="none among the cores in use", fine=True)
    return Finding(
        name=name,
        found=f"{len(texts)} cores in use are threads of {len(firsts)}",
        fine=False,
        costs="Two threads of a core share its arithmetic units: products gain little from the second, and vary more.",
        mend=f"Use one thread a core: taskset -c {text_from_cores(firsts)} optibench ...",
    )


def numa(nodes: Mapping[int, str], cores: Iterable[int]) -> Finding:
    """Whether the cores in use have their memory at one place; ``nodes`` is each node's cpulist."""
    name, used = "NUMA nodes", set(cores)
    of_node = {node: used & set(cores_from_text(text)) for node, text in nodes.items()}
    held = {node: mine for node, mine in of_node.items() if mine}
    if not held:
        return absent(name)
    fine = len(held) == 1
    best = max(held.values(), key=len)
    return Finding(
        name=name,
        found=f"cores of {len(held)} node{'' if fine else 's'} in use",
        fine=fine,
        costs="" if fine else "Memory of another node is farther away, and which node holds what differs by process.",
        mend="" if fine else f"Stay on one node: numactl --localalloc taskset -c {text_from_cores(best)} optibench ...",
    )


def int8(isa: tuple[str, ...]) -> Finding:
    """Instructions that multiply and add integers in one step."""
    found = [flag for flag in host.INT8_INSTRUCTIONS if flag in isa]
    if not isa:
        return absent("int8 instructions")
    if found:
        return Finding(name="int8 instructions", found=", ".join(found), fine=True, costs=_without_amx(found, isa))
    return Finding(
        name="int8 instructions",
        found="none (no VNNI, AMX, SDOT)",
        fine=False,
        costs="int8 products take three instructions for one: their peak is 1.33 times fp32's, with VNNI 4 times."
        if any(flag.startswith("avx") for flag in isa)
        else "int8 products take several instructions each, and gain little over fp32.",
        mend="Choose int8 here for its size, and measure its speed where it will run.",
    )


def bf16(isa: tuple[str, ...]) -> Finding:
    """Instructions that multiply bfloat16."""
    found = [flag for flag in host.BF16_INSTRUCTIONS if flag in isa]
    if not isa:
        return absent("bf16 instructions")
    if found:
        return Finding(name="bf16 instructions", found=", ".join(found), fine=True, costs=_without_amx(found, isa))
    return Finding(
        name="bf16 instructions",
        found="none",
        fine=False,
        costs="bf16 is converted to fp32 for every product and back: it saves memory, and as a rule no time.",
        mend="Judge bf16 on a processor that has it (avx512_bf16, amx_bf16, or ARM's bf16).",
    )


def _without_amx(found: list[str], isa: tuple[str, ...]) -> str:
    wide = any(flag.startswith(("avx512", "amx")) for flag in isa) or not any(flag.startswith("avx") for flag in isa)
    if not wide:
        return "Without AVX-512: a step is 256 bits wide, not 512."
    if any(flag.startswith("avx") for flag in found) and not any(flag.startswith("amx") for flag in found):
        return "Without AMX: machines with its tiles do several times as many products in a step."
    return ""


def virtual(flags: str) -> Finding:
    """Whether a hypervisor stands between; ``flags`` is the line of /proc/cpuinfo. x86 says it, others do not."""
    name = "virtual machine"
    if not flags.strip():
        return absent(name)
    if "hypervisor" not in flags.split():
        return Finding(name=name, found="no", fine=True)
    return Finding(
        name=name,
        found="yes",
        fine=True,
        costs="What the host and its other guests do shows here only as steal, and cores may be threads.",
    )


# From the machine


def look() -> Iterator[Finding]:
    """This machine's."""
    cores = host.affinity()
    cpuinfo = host.read_text("/proc/cpuinfo")
    _, isa = host.cpu_from_text(cpuinfo)
    folder = {core: host.CPUS / f"cpu{core}" for core in cores}
    nodes = host.CPUS.parent.joinpath("node").glob("node[0-9]*/cpulist")
    yield governor({core: host.read_text(path / "cpufreq/scaling_governor") for core, path in folder.items()})
    yield turbo(host.read_text(host.CPUS / "intel_pstate/no_turbo"), host.read_text(host.CPUS / "cpufreq/boost"))
    yield siblings({core: host.read_text(path / "topology/thread_siblings_list") for core, path in folder.items()})
    yield numa({int(path.parent.name.removeprefix("node")): host.read_text(path) for path in nodes}, cores)
    yield int8(isa)
    yield bf16(isa)
    yield virtual(host.fields_from_text(cpuinfo).get("flags", ""))
