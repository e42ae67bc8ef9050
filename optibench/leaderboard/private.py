"""What a run tells of whoever made it and nobody else needs: folders, the machine's and its user's name, secrets."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping

from optibench.values import Record

PART = r"[^\s/\\'\"`,;()<>|\[\]{}]+"
FOLDERS = re.compile(rf"(?<![\w/.~:-])(?:file://)?(?:~|\.{{1,2}}|[A-Za-z]:)?[/\\](?:{PART}[/\\])+|(?<=:)/(?:{PART}/)+")
"""The folders before a file's name: /home/me/models/, ~/data/, ../work/. An address (https://...) and a name of two
parts (user/model, package:module/data) are none."""
LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
DEVICE = re.compile(r"\b(GPU|MIG)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
SECRETS = (
    re.compile(r"\b(?:hf|gh[opsur]|github_pat|glpat|sk|xox[abpr])[_-][A-Za-z0-9_-]{16,}"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(?i)(?<![A-Za-z])(?:[a-z_]*token|secret|password|passwd|api[_-]?key)\s*[=:]\s*[^\s&'\"]{6,}"),
)
SECRET_NAME = re.compile(r"(?i)TOKEN|SECRET|PASSW|API_?KEY|CREDENTIAL")
SHORTEST_NAME, SHORTEST_SECRET = 3, 8


def names_here() -> tuple[str, ...]:
    """The names by which this machine and its user are known; "" is never among them."""
    full = socket.gethostname()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry
        user = ""
    return tuple(n for n in dict.fromkeys((full, full.partition(".")[0], user)) if n not in ("", "localhost", "root"))


def secrets_of(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The values of environment variables that are called as secrets are."""
    found = (value for name, value in variables.items() if SECRET_NAME.search(name))
    return tuple(value for value in found if len(value) >= SHORTEST_SECRET)


def cleaner(records: Iterable[Record]) -> Callable[[str], str]:
    """What makes a text of these records fit to be published. A name that the run itself goes by (a machine called
    openvino) stays: it tells nothing, and without it the records would not be of one run."""
    known = {word.lower() for record in records for word in _words(record)}
    names = [n for n in names_here() if len(n) >= SHORTEST_NAME and n.lower() not in known]
    name = re.compile(rf"(?i)(?<![\w-])(?:{'|'.join(map(re.escape, names))})(?![\w-])") if names else None
    secrets = secrets_of(os.environ)

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        for pattern in SECRETS:
            text = pattern.sub("***", text)
        text = DEVICE.sub(lambda m: f"{m[1]}-{hashlib.sha256(m[2].encode()).hexdigest()[:12]}", LOGIN.sub("", text))
        text = FOLDERS.sub("", text)
        return name.sub("***", text) if name else text

    return clean


def _words(record: Record) -> Iterable[str]:
    case = record.case
    yield from re.split(
        r"[^\w.-]+", f"{case.target} {case.backend} {case.precision} {case.variant} {record.model.task}"
    )
    yield from re.split(r"[^\w.-]+", record.model.id)
    yield from record.host.packages
