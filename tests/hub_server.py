"""A Hub on this machine for tests: it answers the few calls that pushing a run and reading one need."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_test"
FULL, READ = "team", "someone-else"
"""The organisation that the token may write to, and one that it may not."""

Files = dict[str, bytes]


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that the server claims, by path."""

    def commit(self, branch: str, files: Files) -> str:
        parts = [str(len(self.commits))] + [f"{path} {hashlib.sha1(files[path]).hexdigest()}" for path in sorted(files)]
        sha = hashlib.sha1("\n".join(parts).encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha


class HubServer:
    """Repositories by name, served on loopback; ``calls`` are the paths that were requested."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.calls: list[str] = []
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: Files) -> str:
        """A repository with one commit."""
        self.repositories[name] = Repository()
        return self.repositories[name].commit("main", files)

    def add_folder(self, name: str, folder: Path) -> str:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return self.add(name, files)

    def files(self, name: str, branch: str = "main") -> Files:
        repository = self.repositories[name]
        return repository.commits[repository.branches[branch]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, value: Any = None, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        length = headers.pop("length", str(len(body)))
        self.send_response(status)
        for name, text in {"Content-Length": length, **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _missing(self, code: str) -> None:
        self._answer({"error": code}, 404, X_Error_Code=code, X_Error_Message=code)

    def _handle(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server_hub.calls.append(path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = path.split("/")
        if parts == ["api", "validate-yaml"]:
            self._answer({"errors": [], "warnings": []})
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:], body)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._missing("EntryNotFound")

    do_GET = do_HEAD = do_POST = _handle  # noqa: N815

    def _may_write(self, owner: str) -> bool:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid username or password."}, 401)
            return False
        if owner != FULL:
            self._answer({"error": f"You don't have the rights to create a model under the namespace {owner}"}, 403)
            return False
        return True

    def _create(self, request: dict[str, Any]) -> None:
        name = f"{request['organization']}/{request['name']}"
        if not self._may_write(request["organization"]):
            return
        url = {"url": f"{self.server_hub.address}/{name}"}
        if name in self.server_hub.repositories:
            self._answer({"error": "You already created this model repo", **url}, 409)
            return
        private = bool(request.get("private")) or request.get("visibility") == "private"
        repository = self.server_hub.repositories[name] = Repository(private=private)
        repository.commit("main", {".gitattributes": b""})
        self._answer({**url, "name": name})

    def _api(self, name: str, rest: list[str], body: bytes) -> None:
        repository = self.server_hub.repositories.get(name)
        if repository is None:
            self._missing("RepoNotFound")
            return
        action = rest[0] if rest else "revision"
        revision = rest[1] if len(rest) > 1 else "main"
        if action == "branch":
            self._branch(name, repository, revision)
            return
        sha = repository.branches.get(revision, revision)
        if sha not in repository.commits:
            self._missing("RevisionNotFound")
            return
        files = repository.commits[sha]
        if action == "preupload":
            rows = [{**row, "uploadMode": "regular", "shouldIgnore": False} for row in json.loads(body)["files"]]
            self._answer({"files": rows})
        elif action == "commit":
            self._commit(name, repository, revision, body)
        elif action == "tree":
            rows = [{"type": "file", "oid": "0" * 40, "size": len(files[path]), "path": path} for path in sorted(files)]
            self._answer(rows)
        elif action == "revision":
            siblings = [{"rfilename": path, "size": repository.sizes.get(path, len(files[path]))} for path in files]
            info = {"id": name, "_id": "0", "sha": sha, "private": repository.private, "siblings": siblings}
            self._answer({**info, "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": []})
        else:
            self._missing("EntryNotFound")

    def _branch(self, name: str, repository: Repository, branch: str) -> None:
        if not self._may_write(name.partition("/")[0]):
            return
        if branch in repository.branches:
            self._answer({"error": "Reference already exists"}, 409)
            return
        repository.branches[branch] = repository.branches["main"]
        self._answer({})

    def _commit(self, name: str, repository: Repository, branch: str, body: bytes) -> None:
        if not self._may_write(name.partition("/")[0]):
            return
        files = dict(repository.commits[repository.branches[branch]])
        header, *lines = map(json.loads, body.splitlines())
        if header["value"].get("parentCommit", repository.branches[branch]) != repository.branches[branch]:
            self._answer({"error": "A commit has happened since. Please refresh and try again."}, 412)
            return
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        sha = repository.commit(branch, files)
        url = f"{self.server_hub.address}/{name}/commit/{sha}"
        self._answer({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})

    def _file(self, name: str, revision: str, path: str) -> None:
        repository = self.server_hub.repositories.get(name)
        if repository is None:
            self._missing("RepoNotFound")
            return
        sha = repository.branches.get(revision, revision)
        files = repository.commits.get(sha)
        if files is None or path not in files:
            self._missing("RevisionNotFound" if files is None else "EntryNotFound")
            return
        etag = f'"{hashlib.sha256(files[path]).hexdigest()}"'
        self._answer(files[path], X_Repo_Commit=sha, ETag=etag, length=str(len(files[path])))
