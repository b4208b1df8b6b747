"""A W&B server on this machine's loopback that keeps what it is sent: runs by the file stream's own rule (lines lie at
their offset), files, artifacts by digest, saved views. ``mood`` makes it slow, failing or gone."""

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

ENTITY = "someone"
# As long as a real one.
KEY = "planted0" * 5


@dataclass
class Run:
    """What the server has of one run; ``streams`` are lines by file name, ``told`` the variables of its upserts."""

    name: str
    project: str
    number: int
    told: list[dict[str, Any]] = field(default_factory=list)
    streams: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)

    def last(self, key: str) -> Any:
        """The last value that an upsert gave for ``key``."""
        return next((t[key] for t in reversed(self.told) if t.get(key) is not None), None)

    @property
    def config(self) -> dict[str, Any]:
        """Names to values, without what W&B keeps for itself."""
        found = json.loads(self.last("config") or "{}")
        return {k: v["value"] for k, v in found.items() if k != "_wandb"}

    @property
    def charts(self) -> dict[str, Any]:
        """Custom charts by the key under which they were logged."""
        found: dict[str, Any] = {}
        for told in self.told:
            kept = json.loads(told.get("config") or "{}").get("_wandb", {}).get("value", {})
            found |= kept.get("visualize", {})
        return found

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.streams.get("wandb-history.jsonl", [])]

    @property
    def system(self) -> list[dict[str, Any]]:
        """System metrics."""
        return [json.loads(line) for line in self.streams.get("wandb-events.jsonl", [])]

    @property
    def summary(self) -> dict[str, Any]:
        lines = self.streams.get("wandb-summary.json", [])
        return json.loads(lines[-1]) if lines else {}


@dataclass
class Artifact:
    """A version of an artifact: ``by`` the run that made it, ``used_by`` those that took it."""

    number: int
    name: str
    type: str
    digest: str
    by: str
    told: dict[str, Any]
    used_by: list[str] = field(default_factory=list)
    committed: bool = False
    manifest: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"artifact-{self.number}"

    @property
    def entries(self) -> dict[str, Any]:
        return dict(json.loads(self.manifest)["contents"])

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(json.loads(self.told.get("metadata") or "{}"))


@dataclass
class LoopbackWandb:
    """``mood``: ok, failing (500 to all), or gone (connections are cut); ``wait_s`` before each answer."""

    url: str = ""
    mood: str = "ok"
    wait_s: float = 0.0
    runs: dict[str, Run] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    # Questions that this server has no answer to.
    unknown: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def of_type(self, kind: str) -> list[Run]:
        """The runs of one job type."""
        return [run for run in self.runs.values() if run.last("jobType") == kind]

    def artifact(self, number: str) -> Artifact:
        return next(a for a in self.artifacts if a.id == number)

    def environment(self, **more: str) -> dict[str, str]:
        """Variables with which wandb takes this for its server, nothing of the user's read."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_ENTITY": ENTITY,
                "WANDB_ERROR_REPORTING": "false", **more}

    def answer(self, name: str, variables: dict[str, Any]) -> Any:
        """The data of one GraphQL question."""
        with self.lock:
            found = getattr(self, f"_{name}", None)
            if found is None:
                self.unknown.append(name)
                return {}
            return found(variables)

    def _Viewer(self, variables: dict[str, Any]) -> Any:
        return {"viewer": {"id": "viewer", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "name": "",
                           "teams": {"edges": []}, "apiKeys": {"edges": []}, "admin": False}}

    def _GetDefaultEntity(self, variables: dict[str, Any]) -> Any:
        return {"viewer": {"id": "viewer", "entity": ENTITY}}

    def _GetProjects(self, variables: dict[str, Any]) -> Any:
        return {"models": {"pageInfo": {"endCursor": None, "hasNextPage": False}, "edges": []}}

    def _CreateProject(self, variables: dict[str, Any]) -> Any:
        return {"result": {"project": None, "model": None, "inserted": True}}

    def _UpsertView2(self, variables: dict[str, Any]) -> Any:
        number = variables.get("id") or base64.b64encode(f"View:{len(self.views)}".encode()).decode()
        self.views[number] = self.views.get(number, {}) | variables | {"id": number}
        project = {"id": "project", "name": variables["projectName"], "entityName": variables["entityName"]}
        return {"upsertView": {"view": self.views[number] | {"project": project}, "inserted": True}}

    _upsertView = _UpsertView2

    def _View(self, variables: dict[str, Any]) -> Any:
        nodes = [{"node": view} for view in self.views.values() if view["name"] == variables["viewName"]]
        return {"project": {"allViews": {"edges": nodes}}}

    def _SpecificReport(self, variables: dict[str, Any]) -> Any:
        view = self.views[variables["reportId"]]
        project = {"id": "project", "name": view["projectName"], "entityName": view["entityName"]}
        return {"view": view | {"project": project, "createdAt": None, "updatedAt": None}}

    def _ProjectInternalId(self, variables: dict[str, Any]) -> Any:
        return {"project": {"id": "project", "internalId": "UHJvamVjdEludGVybmFsSWQ6MQ=="}}

    def _ServerFeaturesQuery(self, variables: dict[str, Any]) -> Any:
        return {"serverInfo": {"features": []}}

    def _OrganizationCoreWeaveOrganizationID(self, variables: dict[str, Any]) -> Any:
        return {"entity": {"organization": None}}

    def _RunResumeStatus(self, variables: dict[str, Any]) -> Any:
        run = self.runs.get(variables["name"])
        project = {"id": "project", "name": variables["project"], "entity": {"id": "entity", "name": ENTITY}}
        return {"model": project | {"bucket": self._bucket(run) if run else None}}

    def _bucket(self, run: Run) -> dict[str, Any]:
        def count(name: str) -> int:
            return len(run.streams.get(name, []))

        def tail(name: str) -> str:
            return json.dumps(run.streams.get(name, [])[-1:])

        return {
            "id": f"run-{run.number}", "name": run.name, "displayName": run.last("displayName"), "description": None,
            "config": run.last("config") or "{}", "summaryMetrics": json.dumps(run.summary), "sweepName": None,
            "logLineCount": count("output.log"), "historyLineCount": count("wandb-history.jsonl"),
            "eventsLineCount": count("wandb-events.jsonl"), "historyTail": tail("wandb-history.jsonl"),
            "eventsTail": tail("wandb-events.jsonl"), "tags": run.last("tags") or [], "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
            "project": {"id": "project", "name": run.project, "entity": {"id": "entity", "name": ENTITY}},
        }  # fmt: skip

    def _UpsertBucket(self, variables: dict[str, Any]) -> Any:
        named = {f"run-{run.number}": run for run in self.runs.values()}
        run = named.get(variables.get("id") or "") or self.runs.get(variables.get("name") or "")
        new = run is None
        if run is None:
            run = Run(variables["name"], variables["project"], len(self.runs))
            self.runs[run.name] = run
        run.told.append(variables)
        return {"upsertBucket": {"bucket": self._bucket(run), "inserted": new}}

    def _CreateRunFiles(self, variables: dict[str, Any]) -> Any:
        run = self.runs[variables["run"]]
        files = [{"name": n, "uploadUrl": f"{self.url}/put/run/{run.name}/{n}"} for n in variables["files"]]
        return {"createRunFiles": {"runID": f"run-{run.number}", "uploadHeaders": [], "files": files}}

    def _CreateArtifact(self, variables: dict[str, Any]) -> Any:
        told = variables["input"]
        name, kind = told["artifactCollectionName"], told["artifactTypeName"]
        known = [a for a in self.artifacts if (a.name, a.type, a.digest) == (name, kind, told["digest"])]
        if not known:
            known = [Artifact(len(self.artifacts), name, kind, told["digest"], told["runName"], told)]
            self.artifacts += known
        artifact = known[0]
        return {"createArtifact": {"artifact": {
            "id": artifact.id, "digest": artifact.digest, "state": "COMMITTED" if artifact.committed else "PENDING",
            "aliases": [], "artifactSequence": {"id": name, "name": name, "latestArtifact": None},
        }}}  # fmt: skip

    def _CreateArtifactManifest(self, variables: dict[str, Any]) -> Any:
        number = variables["artifactID"]
        return {"createArtifactManifest": {"artifactManifest": {"id": f"manifest-{number}", "file": {
            "id": "file", "uploadUrl": f"{self.url}/put/manifest/{number}", "uploadHeaders": []}}}}

    def _UpdateArtifactManifest(self, variables: dict[str, Any]) -> Any:
        number = variables["artifactManifestID"].removeprefix("manifest-")
        made = self._CreateArtifactManifest({"artifactID": number})
        return {"updateArtifactManifest": made["createArtifactManifest"]}

    def _CreateArtifactFiles(self, variables: dict[str, Any]) -> Any:
        def node(told: dict[str, Any]) -> dict[str, Any]:
            number, name = told["artifactID"], told["name"]
            return {"storagePath": name, "uploadUrl": f"{self.url}/put/artifact/{number}/{name}", "uploadHeaders": [],
                    "uploadMultipartUrls": None, "artifact": {"id": number}}

        edges = [{"node": node(told)} for told in variables["input"]["artifactFiles"]]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, variables: dict[str, Any]) -> Any:
        artifact = self.artifact(variables["artifactID"])
        artifact.committed = True
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}

    def _UseArtifact(self, variables: dict[str, Any]) -> Any:
        told = variables["input"]
        artifact = self.artifact(told["artifactID"])
        artifact.used_by.append(told["runName"])
        return {"useArtifact": {"artifact": {"id": artifact.id}}}


class _Handler(BaseHTTPRequestHandler):
    server_of_test: LoopbackWandb
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._take()

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def _take(self) -> None:
        here, path = self.server_of_test, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        here.asked.append(f"{self.command} {path}")
        if here.mood == "gone":
            self.close_connection = True
            self.connection.close()
            return
        if here.wait_s:
            time.sleep(here.wait_s)
        if here.mood == "failing":
            self._send(500, {"error": "this server fails"})
            return
        here.bodies.append(body)
        if path == "/graphql":
            told = json.loads(body)
            name = told.get("operationName") or re.findall(r"(?:query|mutation)\s+(\w+)", told["query"])[0]
            here.asked[-1] += f" {name}"
            data = here.answer(name, told.get("variables") or {})
            self._send(200, {"data": data} if data else {"errors": [{"message": f"{name} is not known here"}]})
        elif path.endswith("/file_stream"):
            self._stream(path.split("/")[4], json.loads(body))
        elif path.startswith("/put/"):
            self._file(path.removeprefix("/put/"), body)
        else:
            here.unknown.append(path)
            self._send(404, {"error": "not here"})

    def _stream(self, name: str, told: dict[str, Any]) -> None:
        here = self.server_of_test
        with here.lock:
            run = here.runs[name]
            for file, chunk in (told.get("files") or {}).items():
                lines, offset = run.streams.setdefault(file, []), chunk["offset"]
                lines += [""] * (offset - len(lines))
                lines[offset : offset + len(chunk["content"])] = chunk["content"]
            if told.get("complete"):
                run.ended.append(told.get("exitcode", 0))
        self._send(200, {"exitcode": None, "limits": {}})

    def _file(self, path: str, body: bytes) -> None:
        here = self.server_of_test
        kind, owner, *rest = path.split("/", 2)
        with here.lock:
            if kind == "run":
                here.runs[owner].files[rest[0]] = body
            elif kind == "manifest":
                here.artifact(owner).manifest = body
            else:
                here.artifact(owner).files[rest[0]] = body
        self._send(200, {})

    def _send(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            # Who asked did not wait.
            self.close_connection = True


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """wandb-core drops its connections when it ends."""


@contextmanager
def loopback_wandb() -> Iterator[LoopbackWandb]:
    """A running server."""
    here = LoopbackWandb()
    server = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_of_test": here}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    here.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
