"""What the Hub answers, a function a route: repositories, their settings, branches, files and commits."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml

from tests.hub.repos import Files, Repo, content_id, entry, is_large
from tests.hub.request import Refused, Request

if TYPE_CHECKING:
    from tests.hub.server import Hub

API = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo>[^/]+/[^/]+)"
AT = r"/(?P<revision>[^/]+)"
FILE = r"/(?:(?P<kind>datasets|spaces)/)?(?P<repo>[^/]+/[^/]+)"
DATE = "2026-11-20T10:00:00.000Z"


def whoami(hub: Hub, request: Request) -> None:
    if request.headers.get("Authorization") is None:
        raise Refused(401)
    request.tell({"type": "user", "name": "user", "orgs": []})


def create(hub: Hub, request: Request) -> None:
    asked = request.json()
    kind, name = f"{asked.get('type') or 'model'}s", f"{asked['organization'] or 'user'}/{asked['name']}"
    if (kind, name) in hub.repos:
        raise Refused(409, "You already created this repo")
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    made = hub.repos[kind, name] = Repo(name, kind, private=private, sdk=asked.get("sdk"))
    made.commit({".gitattributes": b"*.onnx filter=lfs diff=lfs merge=lfs -text\n"}, "initial commit")
    request.tell({"url": f"{hub.url}/{made.path}"})


def delete(hub: Hub, request: Request) -> None:
    asked = request.json()
    found = hub.found(request, f"{asked.get('type') or 'model'}s", f"{asked['organization'] or 'user'}/{asked['name']}")
    del hub.repos[found.kind, found.id]
    request.tell({})


def validate_yaml(hub: Hub, request: Request) -> None:
    """As the Hub does: what stands between the dashes must be a mapping."""
    block = re.match(r"---\n(.*?)\n---", request.json()["content"], re.DOTALL)
    try:
        fine = isinstance(yaml.safe_load(block[1]) if block else {}, dict)
    except yaml.YAMLError:
        fine = False
    if not fine:
        raise Refused(400, "invalid", {"errors": [{"message": "the metadata are no mapping"}]})
    request.tell({"warnings": [], "errors": []})


def info(hub: Hub, request: Request, kind: str, repo: str, revision: str | None) -> None:
    found, commit = hub.found_at(request, kind, repo, revision)
    request.tell(found.info(commit), X_Repo_Commit=commit.oid)


def settings(hub: Hub, request: Request, kind: str, repo: str) -> None:
    found = hub.found(request, kind, repo)
    found.private = request.json().get("visibility", "private" if found.private else "public") == "private"
    request.tell({})


def tree(hub: Hub, request: Request, kind: str, repo: str, revision: str, path: str | None) -> None:
    _, commit = hub.found_at(request, kind, repo, revision)
    below = f"{path}/" if path else ""
    listed = [entry(name, content) for name, content in commit.files.items() if name.startswith(below)]
    if request.query.get("recursive", ["false"])[0].lower() != "true":
        folders = dict.fromkeys(e["path"][len(below) :].split("/")[0] for e in listed if "/" in e["path"][len(below) :])
        listed = [e for e in listed if "/" not in e["path"][len(below) :]]
        listed += [{"type": "directory", "path": below + name, "oid": "0" * 40} for name in folders]
    request.tell(listed, X_Repo_Commit=commit.oid)


def paths_info(hub: Hub, request: Request, kind: str, repo: str, revision: str) -> None:
    _, commit = hub.found_at(request, kind, repo, revision)
    request.tell([entry(path, commit.files[path]) for path in request.form()["paths"] if path in commit.files])


def refs(hub: Hub, request: Request, kind: str, repo: str) -> None:
    found = hub.found(request, kind, repo)

    def listed(names: dict[str, str], where: str) -> list[dict[str, str]]:
        return [{"name": n, "ref": f"refs/{where}/{n}", "targetCommit": oid} for n, oid in names.items()]

    request.tell({"branches": listed(found.refs, "heads"), "tags": listed(found.tags, "tags"), "converts": []})


def commits(hub: Hub, request: Request, kind: str, repo: str, revision: str) -> None:
    found, commit = hub.found_at(request, kind, repo, revision)
    common = {"authors": [{"user": "user"}], "date": DATE, "message": ""}
    request.tell([{"id": one.oid, "title": one.message, **common} for one in found.log(commit)])


def branch(hub: Hub, request: Request, kind: str, repo: str, name: str) -> None:
    found = hub.found(request, kind, repo)
    if request.command == "DELETE":
        del found.refs[name]
    elif name in found.refs:
        raise Refused(409, "Reference already exists")
    else:
        found.refs[name] = hub.found_at(request, kind, repo, request.json().get("startingPoint"))[1].oid
    request.tell({})


def tag(hub: Hub, request: Request, kind: str, repo: str, revision: str) -> None:
    found = hub.found(request, kind, repo)
    if request.command == "DELETE":
        del found.tags[revision]
    else:
        found.tags[request.json()["tag"]] = hub.found_at(request, kind, repo, revision)[1].oid
    request.tell({})


def preupload(hub: Hub, request: Request, kind: str, repo: str, revision: str) -> None:
    _, commit = hub.found_at(request, kind, repo, revision)
    request.tell(
        {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if is_large(b"\0" * file["size"]) else "regular",
                    "shouldIgnore": False,
                    "oid": content_id(commit.files[file["path"]]) if file["path"] in commit.files else None,
                }
                for file in request.json()["files"]
            ]
        }
    )


def commit(hub: Hub, request: Request, kind: str, repo: str, revision: str) -> None:
    found, head = hub.found_at(request, kind, repo, revision)
    files, message = dict(head.files), ""
    for line in request.data.splitlines():
        item = json.loads(line)
        key, value = item["key"], item["value"]
        if key == "header":
            message = value["summary"]
            if value.get("parentCommit", head.oid) != head.oid:
                raise Refused(412, "A commit has happened since. Please refresh and try again.")
        else:
            change(hub, files, key, value)
    made = found.commit(files, message, revision)
    request.tell({"success": True, "commitOid": made.oid, "commitUrl": f"{hub.url}/{found.path}/commit/{made.oid}"})


def change(hub: Hub, files: Files, key: str, value: dict[str, Any]) -> None:
    """One line of a commit, done to the files."""
    path = value["path"]
    if key == "file":
        files[path] = base64.b64decode(value["content"])
    elif key == "lfsFile":
        if value["oid"] not in hub.objects:
            raise Refused(400, f"{path} was never uploaded")
        files[path] = hub.objects[value["oid"]]
    else:
        gone = [name for name in files if name == path or (key == "deletedFolder" and name.startswith(f"{path}/"))]
        if not gone:
            raise Refused("EntryNotFound", "A file with this name doesn't exist")
        for name in gone:
            del files[name]


def resolve(hub: Hub, request: Request, kind: str | None, repo: str, revision: str, path: str) -> None:
    """A file's content: all of it, the rest of it where a part is asked for, or as much as the test lets through."""
    _, commit = hub.found_at(request, kind, repo, revision)
    if path not in commit.files:
        raise Refused("EntryNotFound", "Entry not found")
    content = commit.files[path]
    common = {"X_Repo_Commit": commit.oid, "ETag": f'"{content_id(content)}"', "Accept_Ranges": "bytes"}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
    if wanted:
        start, end = int(wanted[1]), int(wanted[2]) + 1 if wanted[2] else len(content)
        hub.ranges.append((path, wanted[0]))
        part = content[start:end]
        common["Content_Range"] = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        return request.answer(part, 206, **common)
    ends = next((end for end in hub.cut if path.endswith(end)), None) if request.command == "GET" else None
    if ends is None:
        return request.answer(content, **common)
    request.answer(content[: hub.cut.pop(ends)], Content_Length=str(len(content)), **common)
    request.close_connection = True
    return None


ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", r"/api/whoami-v2", whoami),
    ("POST", r"/api/repos/create", create),
    ("DELETE", r"/api/repos/delete", delete),
    ("POST", r"/api/validate-yaml", validate_yaml),
    ("GET", rf"{API}(?:/revision{AT})?", info),
    ("PUT", rf"{API}/settings", settings),
    ("GET", rf"{API}/tree{AT}(?:/(?P<path>.+))?", tree),
    ("POST", rf"{API}/paths-info{AT}", paths_info),
    ("GET", rf"{API}/refs", refs),
    ("GET", rf"{API}/commits{AT}", commits),
    ("POST|DELETE", rf"{API}/branch/(?P<name>[^/]+)", branch),
    ("POST|DELETE", rf"{API}/tag{AT}", tag),
    ("POST", rf"{API}/preupload{AT}", preupload),
    ("POST", rf"{API}/commit{AT}", commit),
    ("GET|HEAD", rf"{FILE}/resolve{AT}/(?P<path>.+)", resolve),
]
