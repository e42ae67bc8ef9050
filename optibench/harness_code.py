"""What a task of the lm-evaluation-harness would run besides the harness itself: looked for in its YAML before any of
it is loaded, and refused unless the user allows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optibench.errors import OptibenchError, first_line

DATA = ("arrow", "csv", "json", "parquet", "text")
"""Readers of local files that a stranger's task may name; any other name of theirs may do more than read."""
RUNS_CODE = {
    "class": "a Python class",
    "custom_dataset": "a Python function that makes data",
    "use_prompt": "a prompt of another file",
    "unsafe_code": "what the model writes, as code",
    "trust_remote_code": "code that comes with its data",
}
PLAIN = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map", "merge", "timestamp")
)
"""What YAML says without any Python."""


def sandbox(env: Any) -> Any:
    """The harness's templates in jinja's sandbox: a template of a stranger's task may reach any code otherwise."""
    from jinja2.sandbox import SandboxedEnvironment

    if isinstance(env, SandboxedEnvironment):
        return env
    made = SandboxedEnvironment(
        loader=env.loader, undefined=env.undefined, keep_trailing_newline=env.keep_trailing_newline
    )
    made.filters.update(env.filters)
    return made


def refuse(name: str, file: Path | None, own: bool) -> None:
    """An error if the task would run code that the harness did not come with."""
    if file is None:
        return
    wants = sorted(set(_wanted_code(file, own, set())))
    if wants:
        raise OptibenchError(
            f"The task {name} wants code to be run ({'; '.join(wants)}), which is refused. Read it first; then "
            "--trust-remote-code runs it with all your rights."
        )


def _wanted_code(file: Path, own: bool, seen: set[Path]) -> Iterator[str]:
    """What a task's YAML, and those that it includes, would run. Of the harness's ``own`` files the Python beside them
    is a part of what was installed; what comes from elsewhere, and what the model writes, is not."""
    import yaml

    file = file.resolve()
    if file in seen:
        return
    seen.add(file)
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise OptibenchError(f"The task file {file.name} cannot be read: {first_line(error)}.") from error
    if own:
        yield from (f"{tag} in {file.name}" for tag in _tags(node) if tag not in PLAIN)
    said = _values(node)
    for key, what in RUNS_CODE.items():
        meant = any(value not in (False, None) for value in said.get(key, ()))
        if meant and (own or key == "unsafe_code"):
            yield f"{key} in {file.name}: {what}"
    yield from _metrics_from_elsewhere(said, file)
    if own:
        from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES as READERS

        paths = [value for value in said.get("dataset_path", ()) if isinstance(value, str)]
        yield from (f"data of the kind {path} in {file.name}" for path in paths if path in READERS and path not in DATA)
    for value in said.get("include", ()):
        for included in value if isinstance(value, list) else [value]:
            yield from _wanted_code(file.parent / str(included), own, seen)


def _metrics_from_elsewhere(said: Mapping[str, list[Any]], file: Path) -> Iterator[str]:
    """Metrics that the harness does not have are scripts that the package evaluate fetches and runs."""
    import lm_eval.api.metrics  # noqa: F401 (registers them)
    from lm_eval.api.registry import metric_registry

    if any(value is True for value in said.get("hf_evaluate", ())):
        yield f"hf_evaluate in {file.name}: a metric's script from the Hub"
    if said.get("process_results"):  # its metrics are what that function gives, and only called so
        return
    for value in said.get("metric", ()):
        if isinstance(value, str) and not value.startswith("!") and value not in metric_registry:
            yield f"the metric {value!r} in {file.name}, a script from the Hub"


def _tags(node: Any) -> Iterator[str]:
    """The tags of a YAML node and of all within it."""
    if node is None:
        return
    yield node.tag
    children = node.value if isinstance(node.value, list) else []
    for child in children:
        for one in child if isinstance(child, tuple) else (child,):
            yield from _tags(one)


def _values(node: Any) -> dict[str, list[Any]]:
    """Key -> the values that it has anywhere; a tagged one as its tag and text."""
    found: dict[str, list[Any]] = {}

    def plain(one: Any) -> Any:
        if isinstance(one.value, list):
            return [plain(item) for item in one.value if not isinstance(item, tuple)]
        if one.tag.endswith(":bool"):
            return one.value.lower() in ("true", "yes", "on")
        if one.tag.endswith(":null"):
            return None
        return one.value if one.tag in PLAIN else f"{one.tag} {one.value}"

    def look(one: Any) -> None:
        for item in one.value if one is not None and isinstance(one.value, list) else ():
            if isinstance(item, tuple):
                found.setdefault(str(item[0].value), []).append(plain(item[1]))
                look(item[1])
            else:
                look(item)

    look(node)
    return found
