"""What the doctor says of machines, by their own texts: other people's, and this one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from optibench import comparison, doctor, host
from optibench.checks import base, clock, disturbance, libraries, memory, processor, variables
from optibench.checks.disturbance import Counters
from optibench.values import Finding
from tests import factories

INTEL_XEON = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
AMD_ZEN3 = ("avx2", "fma", "f16c")
GRAVITON = ("asimd", "asimddp", "sve", "i8mm", "bf16")
OLD_ARM = ("asimd",)


def said(finding: Finding) -> str:
    """All that a user reads of it; what is not fine must say what it costs and what to do."""
    assert finding.fine or (finding.costs and finding.mend), finding
    return doctor.sentence(finding)


# Processors


def test_intel_bare_metal_with_powersave_is_told_to_set_the_governor() -> None:
    finding = processor.governor({0: "powersave\n", 1: "powersave\n"})
    assert not finding.fine
    assert "powersave" in said(finding)
    assert "cpupower frequency-set -g performance" in said(finding)
    assert processor.governor({0: "performance\n", 1: "performance\n"}).fine


def test_one_core_with_another_governor_is_not_overlooked() -> None:
    finding = processor.governor({0: "performance\n", 1: "schedutil\n"})
    assert (finding.fine, finding.found) == (False, "performance, schedutil")


@pytest.mark.parametrize(
    ("no_turbo", "boost", "found", "how"),
    [
        ("0\n", "", "on", "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo"),
        ("1\n", "", "off", ""),
        ("", "1\n", "on", "echo 0 > /sys/devices/system/cpu/cpufreq/boost"),
        ("", "0\n", "off", ""),
        ("", "", base.ABSENT, ""),
    ],
)
def test_turbo_is_told_as_intels_and_as_amds_drivers_say_it(no_turbo: str, boost: str, found: str, how: str) -> None:
    finding = processor.turbo(no_turbo, boost)
    assert (finding.found, finding.fine) == (found, found != "on")
    assert how in said(finding)


def test_threads_of_one_core_are_found_however_the_kernel_lists_them_and_a_mask_without_them_is_given() -> None:
    halves = {0: "0,4\n", 1: "1,5\n", 4: "0,4\n", 5: "1,5\n"}
    assert "4 cores in use are threads of 2" in said(processor.siblings(halves))
    assert "taskset -c 0-1 " in said(processor.siblings(halves))
    assert not processor.siblings({0: "0-1\n", 1: "0-1\n"}).fine


def test_siblings_that_are_not_in_use_do_not_count() -> None:
    assert processor.siblings({0: "0,4\n", 1: "1,5\n"}).fine


def test_cores_of_two_sockets_are_told_to_stay_on_one() -> None:
    finding = processor.numa({0: "0-3,8-11\n", 1: "4-7\n"}, (0, 1, 2, 3, 4))
    assert "cores of 2 nodes" in said(finding)
    assert "taskset -c 0-3 " in said(finding)
    assert processor.numa({0: "0-3\n", 1: "4-7\n"}, (4, 5)).fine


@pytest.mark.parametrize(
    ("isa", "int8_fine", "bf16_fine"),
    [(INTEL_XEON, True, True), (AMD_ZEN3, False, False), (GRAVITON, True, True), (OLD_ARM, False, False)],
)
def test_what_the_processor_lacks_for_int8_and_bf16_is_told(
    isa: tuple[str, ...], int8_fine: bool, bf16_fine: bool
) -> None:
    int8, bf16 = processor.int8(isa), processor.bf16(isa)
    assert (int8.fine, bf16.fine) == (int8_fine, bf16_fine), (said(int8), said(bf16))


def test_the_cost_of_missing_int8_instructions_is_that_of_the_architecture() -> None:
    assert "1.33" in processor.int8(AMD_ZEN3).costs
    assert "1.33" not in processor.int8(OLD_ARM).costs


def test_avx_vnni_without_avx512_is_fine_and_says_what_is_missing() -> None:
    finding = processor.int8(("avx2", "avx_vnni"))
    assert finding.fine
    assert "256 bits" in finding.costs
    assert processor.int8(INTEL_XEON).costs == ""


# What happens during a round


def counted(**changes: float | int | None) -> Counters:
    """Two cores after 10 s, idle but for nothing."""
    return Counters(**{"wall": 10.0, "cores": 2, "counted": 20.0, "idle": 20.0, **changes})  # type: ignore[arg-type]


BEFORE = Counters(cores=2)


@pytest.mark.parametrize(
    ("idle", "own", "fine"),
    [(20.0, 0.0, True), (2.0, 18.0, True), (10.0, 9.0, True), (10.0, 0.0, False), (2.0, 8.0, False)],
)
def test_load_is_that_of_others_and_not_our_own(idle: float, own: float, fine: bool) -> None:
    finding = disturbance.load(BEFORE, counted(idle=idle, own=own))
    assert finding.fine == fine, said(finding)
    assert finding.found == ("under 25% of the cores' time" if fine else "50% of the cores' time")


def test_what_the_hypervisor_took_is_steal_and_no_load() -> None:
    after = counted(idle=10.0, stolen=10.0)
    assert disturbance.load(BEFORE, after).fine
    assert "50% of the cores' time taken by the hypervisor" in said(disturbance.steal(BEFORE, after))
    assert disturbance.steal(BEFORE, counted(stolen=0.05)).fine


def test_a_kernel_that_does_not_count_is_not_taken_for_a_busy_one() -> None:
    still = counted(counted=0.0, idle=0.0, stolen=None)
    assert disturbance.load(BEFORE, still).found == base.ABSENT
    assert disturbance.steal(BEFORE, still).found == base.ABSENT


def test_core_times_are_those_of_the_cores_in_use() -> None:
    stat = (
        "cpu  400 0 100 3500 0 0 0 200 0 0\n"
        "cpu0 100 0 50 800 50 0 0 100 0 0\n"
        "cpu1 300 0 50 700 0 0 0 100 0 0\n"
        "cpu10 0 0 0 9999 0 0 0 0 0 0\n"
        "intr 1 2 3\n"
    )
    tick = disturbance._tick()
    assert disturbance.core_times_from_text(stat, (0,)) == pytest.approx((1100 * tick, 850 * tick, 100 * tick))
    assert disturbance.core_times_from_text(stat, (0, 1))[0] == pytest.approx(2250 * tick)
    assert disturbance.core_times_from_text("", (0,)) == (0.0, 0.0, None)
    assert disturbance.core_times_from_text("cpu0 broken\n", (0,)) == (0.0, 0.0, None)


@pytest.mark.parametrize(
    ("files", "own"),
    [
        ({"box/cpu.stat": "usage_usec 9\nnr_periods 200\nnr_throttled 50\nthrottled_usec 7\n"}, "0::/box"),
        ({"cpu,cpuacct/x/cpu.stat": "nr_periods 200\nnr_throttled 50\nthrottled_time 7\n"}, "4:cpu,cpuacct:/x"),
    ],
)
def test_throttling_by_a_quota_is_found_in_cgroups_of_both_versions(
    tmp_path: Path, files: dict[str, str], own: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    (text,) = host.cgroup_texts("cpu.stat", tmp_path, own)
    periods, throttled = disturbance.periods_from_text(text) or (0, 0)
    finding = disturbance.throttling(BEFORE, counted(periods=periods, throttled=throttled))
    assert "in 25% of the quota's periods" in said(finding)


@pytest.mark.parametrize(
    ("before", "after", "found", "fine"),
    [
        ((100, 7), (200, 7), "in none of the quota's periods", True),
        ((100, 7), (100, 7), "no quota in force", True),
        ((0, 0), (1000, 1), "in under 1% of the quota's periods", False),
        ((None, None), (None, None), base.ABSENT, True),
    ],
)
def test_only_throttling_of_this_time_counts(
    before: tuple[int, int], after: tuple[int, int], found: str, fine: bool
) -> None:
    finding = disturbance.throttling(
        counted(periods=before[0], throttled=before[1]), counted(periods=after[0], throttled=after[1])
    )
    assert (finding.found, finding.fine) == (found, fine)


def test_heat_is_told_only_if_clocks_were_cut_in_this_time() -> None:
    assert disturbance.heat(counted(hot=12), counted(hot=12)).fine
    assert "clocks were cut" in said(disturbance.heat(counted(hot=12), counted(hot=13)))
    assert disturbance.heat(counted(hot=None), counted(hot=None)).found == base.ABSENT


def test_a_quota_below_the_cores_is_told() -> None:
    assert "a quota of 1.5 CPUs for 2 cores" in said(disturbance.quota(1.5, 2))
    assert disturbance.quota(2.0, 2).fine
    assert disturbance.quota(None, 2).fine


# Memory and clocks

MEMINFO = "MemTotal: 16000000 kB\nMemAvailable: {} kB\nSwapTotal: 4000000 kB\nSwapFree: {} kB\n"


def test_swap_in_use_and_little_memory_are_told() -> None:
    tight = MEMINFO.format(800000, 1000000)
    assert "under a tenth of 16 GB" in said(memory.free(tight, None))
    assert "3 GB or so in use (swappiness 60)" in said(memory.swap(tight, "60\n"))
    roomy = MEMINFO.format(12000000, 4000000)
    assert memory.free(roomy, None).fine
    assert memory.swap(roomy, "60\n").fine
    assert memory.swap("SwapTotal: 0 kB\nSwapFree: 0 kB\n", "60").found == "there is none"


def test_memory_is_judged_within_the_containers_limit() -> None:
    assert memory.free(MEMINFO.format(12000000, 0), 1 << 30).found == "more than half of 1 GB"


def test_a_fixed_layout_of_addresses_is_not_fine_since_rounds_cannot_average_over_it() -> None:
    assert memory.layout("2\n").fine
    assert "randomize_va_space=2" in said(memory.layout("0\n"))


def test_huge_pages_only_tell_machines_apart() -> None:
    assert [memory.huge_pages(text).found for text in ("always [madvise] never\n", "[always] madvise never\n")] == [
        "madvise",
        "always",
    ]


def test_a_slow_clock_is_told_with_the_better_one_that_there_is() -> None:
    assert clock.source("tsc\n", "tsc hpet acpi_pm\n").fine
    assert clock.source("arch_sys_counter\n", "arch_sys_counter\n").fine
    assert "echo tsc > " in said(clock.source("hpet\n", "tsc hpet acpi_pm\n"))
    assert "dmesg" in said(clock.source("hpet\n", "hpet acpi_pm\n"))


def test_a_coarse_timer_is_told_with_the_calls_that_are_too_short_for_it() -> None:
    assert clock.timer(1, 40).fine
    assert "Calls under 1.5 ms" in said(clock.timer(15_000, 300))


# Libraries and variables


def test_versions_that_do_not_go_together_are_named() -> None:
    installed = {"numpy": "1.26.0", "torch": "2.13.0+cpu", "onnxruntime": "1.10.0"}
    required = {
        "optibench": ["numpy>=2.0", "torch==2.13.0", "msgspec>=0.19", 'onnxruntime>=1.24; extra == "onnxruntime"'],
        "torch": ['triton==3.0; python_version < "3"'],
    }
    finding = libraries.versions(required, installed.get)
    assert finding.found.split("; ") == [
        "optibench needs numpy>=2.0, 1.26.0 is installed",
        "optibench needs msgspec>=0.19, which is not installed",
        "optibench needs onnxruntime>=1.24, 1.10.0 is installed",
    ]
    assert "constraints.txt" in said(finding)


def test_an_extra_that_is_not_installed_is_no_fault() -> None:
    assert libraries.versions({"optibench": ['openvino>=2026.2; extra == "openvino"']}, {}.get).fine


def test_two_packages_that_own_one_runtime_are_found_by_their_files() -> None:
    records = {
        "onnxruntime": "onnxruntime/__init__.py,sha256=a,1\nonnxruntime/capi/x.so,,\n",
        "onnxruntime-gpu": "onnxruntime-1.dist-info/METADATA,,\nonnxruntime/__init__.py,sha256=b,1\n",
        "onnxruntime-genai": "onnxruntime_genai/__init__.py,sha256=c,1\n",
    }
    assert "onnxruntime is of onnxruntime and onnxruntime-gpu" in said(libraries.owners(records))
    del records["onnxruntime-gpu"]
    assert libraries.owners(records).fine


def test_openmp_runtimes_of_two_makes_clash_and_copies_of_one_do_not() -> None:
    gnu = {
        "torch": "torch/lib/libgomp.so.1,sha256=x,1\n",
        "scikit-learn": "scikit_learn.libs/libgomp-e985bcbb.so.1.0.0,,\nsklearn/libompx.py,,\n",
    }
    finding = libraries.openmp(gnu)
    assert (finding.found, finding.fine) == ("GNU's with scikit-learn, torch", True)
    both = {"intel-openmp": "../../libiomp5.so,,\n", "other": "other.libs/libomp-12.so.5,,\n"}
    assert "Intel's with intel-openmp; LLVM's with other" in said(libraries.openmp(both))


@pytest.mark.parametrize(
    ("version", "gpus", "found", "fine"),
    [
        ("cuda: Optional[str] = '12.6'\n", (), "for CUDA 12.6, without an NVIDIA driver", False),
        ("cuda: Optional[str] = '12.6'\n", ("Tesla T4",), "for CUDA 12.6", True),
        ("cuda: Optional[str] = None\n", ("Intel GPU",), "for CPUs", True),
        ("cuda: Optional[str] = None\n", ("Tesla T4",), "not for CUDA, though there is Tesla T4", False),
        ("", (), base.ABSENT, True),
    ],
)
def test_torch_is_told_when_it_is_built_for_another_device(
    version: str, gpus: tuple[str, ...], found: str, fine: bool
) -> None:
    finding = libraries.torch_build(version, gpus)
    assert (finding.found, finding.fine) == (found, fine)


@pytest.mark.parametrize(
    ("env", "fine"),
    [
        ({}, True),
        ({"OMP_NUM_THREADS": "4", "OMP_THREAD_LIMIT": "64"}, True),
        ({"OMP_NUM_THREADS": "4,2"}, True),
        ({"OMP_NUM_THREADS": "1"}, False),
        ({"MKL_NUM_THREADS": "8"}, False),
        ({"OMP_THREAD_LIMIT": "2"}, False),
        ({"OMP_NUM_THREADS": "four"}, False),
    ],
)
def test_thread_counts_must_be_the_cores_in_use(env: dict[str, str], fine: bool) -> None:
    finding = variables.counts(env, 4)
    assert finding.fine == fine, said(finding)


def test_threads_bound_to_cores_that_may_not_be_used_are_told() -> None:
    assert "(4-7)" in said(variables.places({"GOMP_CPU_AFFINITY": "0-7"}, (0, 1, 2, 3)))
    assert not variables.places({"KMP_AFFINITY": "explicit,proclist=[0,9]"}, (0, 1)).fine
    assert variables.places({"KMP_AFFINITY": "granularity=fine,compact,1,0", "OMP_PROC_BIND": "close"}, (0, 1)).fine


@pytest.mark.parametrize(
    ("env", "fine"),
    [
        ({"KMP_BLOCKTIME": "1"}, True),
        ({"KMP_BLOCKTIME": "200"}, True),
        ({"KMP_BLOCKTIME": "infinite"}, False),
        ({"KMP_BLOCKTIME": "5000ms"}, False),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, False),
        ({"OMP_WAIT_POLICY": "passive"}, True),
    ],
)
def test_threads_told_to_spin_are_told(env: dict[str, str], fine: bool) -> None:
    assert variables.waiting(env).fine == fine


def test_variables_that_change_code_or_precision_are_told_and_their_defaults_are_not() -> None:
    assert "OPENBLAS_CORETYPE=Haswell" in said(variables.code({"OPENBLAS_CORETYPE": "Haswell"}))
    assert not variables.code({"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}).fine
    assert variables.code({"ONEDNN_MAX_CPU_ISA": "DEFAULT"}).fine


def test_preloaded_libraries_are_named_without_their_folders() -> None:
    env = {"LD_PRELOAD": "/home/someone/lib/libtcmalloc.so.4:/opt/libiomp5.so"}
    assert variables.preloaded(env).found == "libtcmalloc.so.4, libiomp5.so"


# All together


def test_on_an_unknown_system_nothing_is_guessed_and_nothing_is_wrong() -> None:
    nothing = [
        processor.governor({0: ""}),
        processor.turbo("", ""),
        processor.siblings({0: ""}),
        processor.numa({}, (0,)),
        processor.int8(()),
        processor.bf16(()),
        processor.virtual(""),
        memory.free("", None),
        memory.swap("", ""),
        memory.huge_pages(""),
        memory.layout(""),
        clock.source("", ""),
        libraries.versions({}, {}.get),
        libraries.owners({}),
        libraries.openmp({}),
    ]
    assert {(finding.found, finding.fine, finding.costs) for finding in nothing} == {(base.ABSENT, True, "")}


def test_this_machines_findings_have_names_of_their_own_and_say_what_to_do() -> None:
    found = doctor.findings()
    assert len({finding.name for finding in found}) == len(found) > 20
    assert all(said(finding) for finding in found)


def test_findings_of_one_machine_moments_apart_differ_in_nothing_but_what_was_counted() -> None:
    one = doctor.findings()
    other = doctor.findings(doctor.counters())
    changing = {"load by others", "steal", "quota throttling", "thermal throttling", "free memory", "timer", "swap"}
    assert {difference.name for difference in doctor.differences(one, other)} <= changing


def test_others_are_not_blamed_for_what_this_process_does() -> None:
    def burn(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    before = doctor.counters()
    burn(0.2)
    after = doctor.counters()
    assert after.own - before.own >= 0.15


def test_differences_name_what_two_machines_do_not_share() -> None:
    mine = (processor.governor({0: "powersave"}), disturbance.quota(None, 2), memory.layout("2"))
    theirs = (processor.governor({0: "performance"}), disturbance.quota(None, 2))
    assert doctor.differences(mine, theirs) == (("governor", "powersave", "performance"),)
    assert doctor.differences(mine, ()) == ()


def test_of_many_rounds_what_was_once_not_fine_is_kept() -> None:
    quiet, busy = disturbance.load(BEFORE, counted()), disturbance.load(BEFORE, counted(idle=5.0))
    assert doctor.of_rounds([[quiet], [busy], [quiet]]) == (busy,)
    assert doctor.of_rounds([]) == ()


def test_what_is_not_fine_comes_first_and_what_is_not_known_last() -> None:
    found = [base.absent("turbo"), memory.layout("2"), memory.layout("0")]
    assert doctor.worst_first(found) == found[::-1]


def test_a_comparison_warns_of_what_was_not_fine_while_it_was_measured() -> None:
    bad, good = processor.governor({0: "powersave"}), memory.layout("2")
    before = disturbance.quota(0.5, 2)
    told = comparison.comparison_from_records(
        [
            factories.record(status="skipped", reason="no", measurement=None, findings=(before,)),
            factories.record(findings=(bad, good)),
        ],
        command="optibench compare",
        created="",
    )
    assert told.findings == (bad, good)
    assert doctor.sentence(bad) in told.warnings
    assert not any("ddress layout" in warning or "quota" in warning for warning in told.warnings)


@pytest.mark.parametrize(("text", "cores"), [("0-3,8\n", (0, 1, 2, 3, 8)), ("", ()), ("0 2-3", (0, 2, 3)), ("x-3", ())])
def test_lists_of_cores_are_read_and_written_as_the_kernel_and_taskset_do(text: str, cores: tuple[int, ...]) -> None:
    assert base.cores_from_text(text) == cores
    assert base.cores_from_text(base.text_from_cores(cores)) == cores
