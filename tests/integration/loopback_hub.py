"""A model hub on this machine's loopback: repositories made of files in memory, each at one commit, with the endpoints
that ``huggingface_hub``, ``transformers`` and ``datasets`` ask (information, listing, files with their ETags)."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class LoopbackHub:
    """``repositories``: ``models/NAME`` or ``datasets/NAME`` to {path: bytes}; ``asked``: (method, path) of each."""

    repositories: dict[str, dict[str, bytes]]
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def paths(self) -> list[str]:
        """What was asked for, without methods and queries."""
        return [path for _, path in self.asked]


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path))
        kind, name, what, revision, rest = _parts(path)
        files = self.hub.repositories.get(f"{kind}/{name}")
        if files is None:
            self._send(401, {"error": "Invalid username or password."}, {"X-Error-Code": "RepoNotFound"})
        elif revision not in (None, "main", COMMIT):
            self._send(404, {"error": f"Invalid rev id: {revision}"}, {"X-Error-Code": "RevisionNotFound"})
        elif what == "resolve":
            self._file(files, rest)
        elif what == "revision":
            self._send(200, _information(name, files))
        elif what == "tree":
            folder, deep = rest, parse_qs(urlsplit(self.path).query).get("recursive") == ["True"]
            entries = _tree(files, folder, deep)
            self._send(200, entries) if entries or not folder else self._send(
                404, {"error": "no such folder"}, {"X-Error-Code": "EntryNotFound"})
        elif what == "paths-info":
            wanted = _form(body, self.headers.get("Content-Type", ""))
            self._send(200, [e for e in _tree(files, "", True) if e["path"] in wanted])
        else:
            self._send(404, {"error": "not here"})

    def _file(self, files: dict[str, bytes], path: str) -> None:
        if path not in files:
            self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        content, total = files[path], len(files[path])
        headers = {"ETag": f'"{_digest(content)}"', "Accept-Ranges": "bytes"}
        asked, status = self.headers.get("Range"), 200
        if asked and asked.startswith("bytes=") and self.command == "GET":
            first, _, last = asked[6:].partition("-")
            begin, end = int(first), min(int(last or total - 1), total - 1)
            content, status = content[begin : end + 1], 206
            headers["Content-Range"] = f"bytes {begin}-{end}/{total}"
        self._send(status, content, headers)

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/octet-stream" if content is data else "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _parts(path: str) -> tuple[str, str, str | None, str | None, str]:
    """(``models`` or ``datasets``, owner/name, what is asked, revision, the rest) of a path."""
    words = path.strip("/").split("/")
    if words[0] == "api":
        words = words[1:]
    kind = words.pop(0) if words and words[0] in ("models", "datasets") else "models"
    name, words = "/".join(words[:2]), words[2:]
    return kind, name, words[0] if words else None, words[1] if len(words) > 1 else None, "/".join(words[2:])


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _information(name: str, files: dict[str, bytes]) -> dict[str, Any]:
    return {"id": name, "modelId": name, "sha": COMMIT, "private": False, "gated": False, "disabled": False,
            "downloads": 0, "likes": 0, "tags": [], "lastModified": "2024-01-01T00:00:00.000Z",
            "createdAt": "2024-01-01T00:00:00.000Z", "siblings": [{"rfilename": path} for path in sorted(files)]}


def _tree(files: dict[str, bytes], folder: str, deep: bool) -> list[dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    begin = f"{folder}/" if folder else ""
    for path, content in sorted(files.items()):
        if not path.startswith(begin):
            continue
        parts = path[len(begin) :].split("/")
        for depth in range(1, len(parts) if deep else min(2, len(parts))):
            inner = begin + "/".join(parts[:depth])
            entries[inner] = {"type": "directory", "path": inner, "oid": _digest(inner.encode()), "size": 0}
        if deep or len(parts) == 1:
            entries[path] = {"type": "file", "path": path, "oid": _digest(content), "size": len(content)}
    return list(entries.values())


def _form(body: bytes, kind: str) -> list[str]:
    if "json" in kind:
        paths = json.loads(body).get("paths", [])
        return [paths] if isinstance(paths, str) else paths
    return parse_qs(body.decode()).get("paths", [])


@contextmanager
def loopback_hub(repositories: dict[str, dict[str, bytes]]) -> Iterator[LoopbackHub]:
    """A running hub; ``url`` is what ``HF_ENDPOINT`` should say."""
    hub = LoopbackHub(repositories)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
