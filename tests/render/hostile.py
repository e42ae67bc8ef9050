"""Text that a stranger could put into a model id, a reason or a label, and what of it must never get through."""

from __future__ import annotations

from optibench.results import Comparison, Recommended
from optibench.values import Executed
from tests.factories import case, comparison, data, host, model, reference

TEXT = "\x1b[31mred\x1b[0m [bold]b[/bold] <b>tag</b> a|b `c` *s* \u202egnp.exe\x07\x9b2J\u2028 $x$ www.evil.com\n# next"
OBEYED = "\x1b\x07\x9b\u202e\u2028"
"""What a terminal or an editor would act on."""


def hostile_comparison() -> Comparison:
    return comparison(
        model=model(id=TEXT, task=TEXT),
        host=host(cpu_model=TEXT, packages={TEXT: TEXT}),
        workload={"dataset": data(id=TEXT)},
        cases=(
            reference(),
            case(notes=(TEXT,), executed=Executed(provider=TEXT, precision="int8", threads=2)),
            case("cpu/onnxruntime/int8", status="failed", reason=TEXT),
            case("cuda/onnxruntime/fp32", status="skipped", reason=TEXT),
        ),
        recommended=Recommended(case="cpu/onnxruntime/int8-dynamic", sentence=TEXT),
        warnings=(TEXT,),
        command=f"optibench compare {TEXT} ```",
    )
