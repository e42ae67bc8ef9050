"""The Hub's side of Git LFS: a batch of objects is announced, each comes whole or in parts, and is checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING, Any

from tests.hub.request import Refused, Request
from tests.hub.routes import FILE

if TYPE_CHECKING:
    from tests.hub.server import Hub

PART_BYTES = 400_000
"""Objects beyond this come in parts of this size (the real Hub: of 5 GB and more, in parts of some 16 MB)."""


def batch(hub: Hub, request: Request, kind: str | None, repo: str) -> None:
    hub.found(request, kind, repo)
    objects = [announced(hub, one["oid"], one["size"]) for one in request.json()["objects"]]
    request.tell({"transfer": "basic", "objects": objects})


def announced(hub: Hub, oid: str, size: int) -> dict[str, Any]:
    """Where to send an object; nowhere if it is here."""
    if oid in hub.objects:
        return {"oid": oid, "size": size}
    verify = {"href": f"{hub.url}/lfs/verify"}
    upload: dict[str, Any] = {"href": f"{hub.url}/lfs/whole/{oid}"}
    if size > PART_BYTES:
        parts = {str(n): f"{hub.url}/lfs/part/{oid}/{n}" for n in range(1, ceil(size / PART_BYTES) + 1)}
        upload = {"href": f"{hub.url}/lfs/complete/{oid}", "header": {"chunk_size": str(PART_BYTES), **parts}}
    return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}


def whole(hub: Hub, request: Request, oid: str) -> None:
    keep(hub, oid, request.data)
    request.answer(b"")


def part(hub: Hub, request: Request, oid: str, number: str) -> None:
    hub.parts.setdefault(oid, {})[int(number)] = request.data
    request.answer(b"", ETag=f'"{hashlib.md5(request.data).hexdigest()}"')


def complete(hub: Hub, request: Request, oid: str) -> None:
    parts = hub.parts.pop(oid, {})
    named = [one["partNumber"] for one in request.json()["parts"]]
    if named != sorted(parts):
        raise Refused(400, f"parts {named} were named, {sorted(parts)} had come")
    keep(hub, oid, b"".join(parts[number] for number in named))
    request.tell({})


def keep(hub: Hub, oid: str, content: bytes) -> None:
    """Stores an object, if it is what its name says."""
    if hashlib.sha256(content).hexdigest() != oid:
        raise Refused(400, "the content is not what its oid says")
    hub.objects[oid] = content


def verify(hub: Hub, request: Request) -> None:
    asked = request.json()
    if len(hub.objects.get(asked["oid"], b"")) != asked["size"]:
        raise Refused(404, "there is no such object")
    request.tell({})


ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("POST", rf"{FILE}\.git/info/lfs/objects/batch", batch),
    ("PUT", r"/lfs/whole/(?P<oid>\w+)", whole),
    ("PUT", r"/lfs/part/(?P<oid>\w+)/(?P<number>\d+)", part),
    ("POST", r"/lfs/complete/(?P<oid>\w+)", complete),
    ("POST", r"/lfs/verify", verify),
]
