"""A model from the Hugging Face Hub: the commit that a name resolves to, and its files at that commit.

HF_TOKEN, HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are huggingface_hub's own and hold here. Only what is needed is
fetched: configuration, tokenizer and safetensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optibench import formats
from optibench.errors import OptibenchError, first_line

TIMEOUT_SECONDS = 10.0
PATTERNS = ["*.json", "*.txt", "*.model", "*.jinja", "*/config.json", "model*.safetensors"]
PICKLES = ["pytorch_model*.bin*"]
IGNORED = ["onnx/*", "openvino/*", "*.msgpack", "*.h5", "*.ot", "*/tokenizer*"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Snapshot:
    """A model's files at one commit."""

    path: Path
    commit: str
    pipeline_tag: str | None


def fetch(name: str, revision: str | None, allow_pickle: bool, say: Say) -> Snapshot:
    """The model's files, from the cache where they are there already.

    Raises OptibenchError in a sentence for each thing that goes wrong, within seconds where there is no network.
    """
    import huggingface_hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return _cached(name, revision, allow_pickle, "HF_HUB_OFFLINE is set")
    try:
        info = huggingface_hub.HfApi().model_info(name, revision=revision, timeout=TIMEOUT_SECONDS)
    except Exception as error:  # httpx, huggingface_hub and the operating system each have their own
        if answer := answered(name, revision, error):
            raise answer from error
        snapshot = _cached(name, revision, allow_pickle, f"{endpoint()} cannot be reached")
        say(f"{endpoint()} cannot be reached; using the copy of {name} that was fetched before.")
        return snapshot
    names = [sibling.rfilename for sibling in info.siblings or ()]
    patterns = list(PATTERNS)
    if not any(n.endswith(".safetensors") and "/" not in n for n in names):
        pickles = [n for n in names if n.endswith(".bin") and "/" not in n]
        if pickles and not allow_pickle:
            raise OptibenchError(
                f"{name} has its weights only as pickle ({pickles[0]}), which can run any code when it is loaded. "
                "Look for a revision with safetensors, or give --allow-pickle if you trust its author."
            )
        if found := "" if pickles or "adapter_config.json" in names else formats.of_names(names, "fetched/"):
            raise OptibenchError(f"{name} {found}.")
        patterns += PICKLES
    elif not any(n.startswith("model") and n.endswith(".safetensors") for n in names):
        patterns.append("*.safetensors")
    say(f"fetching {name} at {str(info.sha)[:12]}")
    try:
        folder = huggingface_hub.snapshot_download(
            # By its branch or tag, not by the commit: so the cache knows what the name meant when there is no network.
            name,
            revision=revision,
            allow_patterns=patterns,
            ignore_patterns=IGNORED,
            etag_timeout=TIMEOUT_SECONDS,
        )
    except Exception as error:
        raise answered(name, revision, error) or OptibenchError(
            f"{name} could not be fetched whole: {first_line(error)}. Run the command again: what came is kept."
        ) from error
    return Snapshot(path=Path(folder), commit=Path(folder).name, pipeline_tag=info.pipeline_tag)


def check_dataset(name: str, revision: str | None) -> None:
    """Error, within seconds, where the Hub cannot be reached for a data set: the package datasets tries for half a
    minute. What the Hub answers, that package tells itself."""
    import huggingface_hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return
    try:
        huggingface_hub.HfApi().dataset_info(name, revision=revision, timeout=TIMEOUT_SECONDS)
    except Exception as error:
        if answered(name, revision, error) is None:
            raise OptibenchError(
                f"The Hub data set {name} cannot be read: {endpoint()} cannot be reached. Connect to the network, or "
                "give a local file; if it was fetched before, HF_HUB_OFFLINE=1 takes that copy."
            ) from error


def endpoint() -> str:
    """The Hub's address (HF_ENDPOINT)."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _cached(name: str, revision: str | None, allow_pickle: bool, why: str) -> Snapshot:
    import huggingface_hub

    # The same patterns as when it was fetched: whatever they leave out would count as missing.
    patterns = [*PATTERNS, *(PICKLES if allow_pickle else ())]
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, local_files_only=True, allow_patterns=patterns, ignore_patterns=IGNORED
            )
        )
    except Exception as error:
        at = f" at revision {revision}" if revision else ""
        raise OptibenchError(
            f"{name}{at} is not on this machine, and {why}: connect to the network, or give a local folder."
        ) from error
    return Snapshot(path=folder, commit=folder.name, pipeline_tag=None)


def answered(name: str, revision: str | None, error: Exception) -> OptibenchError | None:
    """What the Hub said, in words; None if it said nothing (no network)."""
    from huggingface_hub import errors, get_token

    if isinstance(error, errors.GatedRepoError):
        return OptibenchError(
            f"{name} is gated: ask for access on its page at the Hub, then set HF_TOKEN (or run hf auth login)."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return OptibenchError(f"{name} has no revision {revision!r}. Give a branch, a tag or a commit after the @.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return OptibenchError(
            f"The Hub has no model {name}, or it is private: check its spelling, and set HF_TOKEN for private ones."
        )
    if isinstance(error, errors.HFValidationError):
        return OptibenchError(f"{name!r} is not a Hub id: expected user/name, of letters, digits, '-', '_' and '.'.")
    status = status_of(error)
    if status in (401, 403):
        return OptibenchError(f"The Hub refused {name} ({status}): check HF_TOKEN (hf auth whoami tells whose it is).")
    if status == 429:
        more = "" if get_token() else ", or set HF_TOKEN"
        return OptibenchError(f"The Hub asks to slow down (429) for {name}: wait a minute{more}.")
    if status is not None:
        what = "it has trouble; try again later" if status >= 500 else first_line(error)
        return OptibenchError(f"The Hub answered {status} for {name}: {what}.")
    return None


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status of an error, or of what it was raised from; None if there was no answer."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return int(status)
        error = error.__cause__
    return None
