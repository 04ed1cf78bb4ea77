"""A Hub on 127.0.0.1 that speaks what huggingface_hub asks for, and fails as the real one does.

Weights are large files: `resolve` answers with a redirect to another host name, as to a CDN.
Uploads go by LFS, which huggingface_hub uses with HF_HUB_DISABLE_XET=1; Xet itself is not spoken.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_of_the_tests"
STALLED_BYTES = 200_000
LARGE = (".safetensors", ".bin")


@dataclass
class Repository:
    """A model: commits, each a mapping of names to contents, and branches."""

    commits: dict = field(default_factory=dict)
    branches: dict = field(default_factory=dict)
    messages: dict = field(default_factory=dict)
    is_private: bool = False
    is_gated: bool = False

    def commit(self, files, branch="main"):
        """Add a commit to a branch; its hash."""
        text = json.dumps(
            [len(self.commits), *((n, _blob_id(files[n])) for n in sorted(files))]
        ).encode()
        name = hashlib.sha1(text).hexdigest()
        self.commits[name] = dict(files)
        self.branches[branch] = name
        return name

    def resolved(self, revision):
        return self.branches.get(revision, revision if revision in self.commits else None)


def folder_files(folder):
    """The files of a folder, by their names in a repository."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class Hub:
    """The server; use as a context manager."""

    def __init__(self):
        self.repositories = {}
        self.uploads = {}
        self.requests = []
        self.sent_bytes = Counter()
        self.limited = 0
        self.unavailable = 0
        self.retry_after = 1
        self.cuts = {}
        self.ignores_ranges = False
        self.stalled_file = None
        self.is_stalled, self.may_go_on = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def add(self, name, folder, **settings):
        """Make a repository of a folder; the commit."""
        self.repositories[name] = Repository(**settings)
        return self.repositories[name].commit(folder_files(folder))

    def environment(self, cache, **more):
        """Environment variables of a process that uses this server."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **more,
        }

    def total_bytes(self, ending=""):
        """Bytes of files that were sent, of those whose names end so."""
        return sum(size for name, size in self.sent_bytes.items() if name.endswith(ending))

    def paths(self, method):
        """Paths that were asked for."""
        return [path for verb, path in self.requests if verb == method]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub = None

    def handle(self):
        """Answer requests; a client that goes away has its reasons."""
        with contextlib.suppress(ConnectionResetError):
            super().handle()

    def log_message(self, *_):
        """Nothing."""

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def do_PUT(self):
        self._answer()

    def _answer(self):
        hub = self.server_hub
        self.address = urlsplit(self.path)
        path = unquote(self.address.path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with hub.lock:
            hub.requests.append((self.command, path))
            is_limited = hub.limited > 0
            hub.limited -= is_limited
            is_out = hub.unavailable > 0
            hub.unavailable -= is_out
        if is_limited:
            self._send(429, b"", {"Retry-After": str(hub.retry_after)})
            return
        if is_out:
            self._send(503, b"", {})
            return
        for pattern, method in ROUTES:
            if found := re.fullmatch(pattern, path):
                getattr(self, method)(*found.groups())
                return
        self._json({"error": "no such page"}, 404)

    # what a client may see

    def _repository(self, name, *, is_content=False):
        """The repository, or None after an error was sent."""
        found = self.server_hub.repositories.get(name)
        is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if found is None or (found.is_private and not is_known):
            self._fail(404 if is_known else 401, "RepoNotFound", "Repository not found")
            return None
        if found.is_gated and is_content and not is_known:
            self._fail(403, "GatedRepo", "Access to this model is restricted")
            return None
        return found

    def _revision(self, name, revision, **options):
        found = self._repository(name, **options)
        commit = found and found.resolved(revision)
        if found and commit is None:
            self._fail(404, "RevisionNotFound", "Invalid rev id")
        return (found.commits[commit], commit) if commit else (None, None)

    def models(self):
        query = parse_qs(self.address.query)
        author, search = (query.get(key, [""])[0] for key in ("author", "search"))
        public = (n for n, one in self.server_hub.repositories.items() if not one.is_private)
        names = [n for n in public if n.startswith(author) and search in n]
        self._json([{"id": name, "modelId": name} for name in names])

    def model(self, name, revision="main"):
        files, commit = self._revision(name, revision)
        if files is not None:
            repository = self.server_hub.repositories[name]
            siblings = [{"rfilename": file} for file in files]
            content = {"id": name, "sha": commit, "siblings": siblings}
            self._json(content | {"private": repository.is_private, "tags": []})

    def tree(self, name, revision):
        files, _ = self._revision(name, revision)
        if files is not None:
            self._json([_entry(file, data) for file, data in files.items()])

    def refs(self, name):
        if repository := self._repository(name):
            branches = [
                {"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": commit}
                for branch, commit in repository.branches.items()
            ]
            self._json({"branches": branches, "tags": [], "converts": []})

    def resolve(self, name, revision, file):
        files, commit = self._revision(name, revision, is_content=True)
        if files is None:
            return
        headers = {"X-Repo-Commit": commit}
        if file not in files:
            self._fail(404, "EntryNotFound", "Entry not found", headers)
            return
        data = files[file]
        if not file.endswith(LARGE):
            self._file(file, data, headers | {"ETag": f'"{_blob_id(data)}"'})
            return
        oid = hashlib.sha256(data).hexdigest()
        place = f"http://localhost:{self.server_hub.port}/cdn/{name}/{commit}/{file}"
        headers |= {"Location": place, "X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{oid}"'}
        self._send(302, b"", headers)

    def cdn(self, name, commit, file):
        if self.headers.get("Authorization"):
            self._json({"error": "a token was sent to another host"}, 400)
            return
        self._file(file, self.server_hub.repositories[name].commits[commit][file], {})

    # uploads

    def create(self):
        content = json.loads(self.body)
        name = f"{content['organization']}/{content['name']}"
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._fail(401, "", "Invalid username or password.")
        elif name in self.server_hub.repositories:
            error = "You already created this model repo"
            self._json({"error": error, "url": f"{self.server_hub.url}/{name}"}, 409)
        else:
            private = content.get("visibility") == "private" or content.get("private", False)
            self.server_hub.repositories[name] = Repository(is_private=private)
            self.server_hub.repositories[name].commit({".gitattributes": b""})
            self._json({"url": f"{self.server_hub.url}/{name}"})

    def branch(self, name, branch):
        repository = self.server_hub.repositories[name]
        if branch in repository.branches:
            self._json({"error": "Reference already exists"}, 409)
        else:
            repository.branches[branch] = repository.branches["main"]
            self._json({})

    def validate_yaml(self):
        self._json({"errors": [], "warnings": []})

    def preupload(self, name, _):
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in json.loads(self.body)["files"]
        ]
        self._json({"files": files})

    def lfs_batch(self, _):
        objects = [
            one
            | {
                "actions": {
                    "upload": {"href": f"{self.server_hub.url}/upload/{one['oid']}", "header": {}},
                    "verify": {"href": f"{self.server_hub.url}/verify", "header": {}},
                }
            }
            for one in json.loads(self.body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, oid):
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.server_hub.uploads[oid] = self.body
        self._send(200, b"", {})

    def verify(self):
        self._json({})

    def commit(self, name, branch):
        repository = self.server_hub.repositories[name]
        files = dict(repository.commits[repository.branches[branch]])
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server_hub.uploads[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        commit = repository.commit(files, branch)
        repository.messages[commit] = message
        url = f"{self.server_hub.url}/{name}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url})

    # answers

    def _fail(self, status, code, message, headers=None):
        more = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
        self._send(status, json.dumps({"error": message}).encode(), more | (headers or {}))

    def _json(self, content, status=200):
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _file(self, file, data, headers):
        hub = self.server_hub
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        status = 200
        if wanted and not hub.ignores_ranges:
            begin, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            headers = headers | {"Content-Range": f"bytes {begin}-{end}/{len(data)}"}
            status, data = 206, data[begin : end + 1]
        if self.command == "HEAD":
            self._send(status, data, headers)
            return
        if file == hub.stalled_file and len(data) > STALLED_BYTES:
            self._stall(status, data, headers)
            return
        with hub.lock:
            times, after_bytes = hub.cuts.get(file, (0, 0))
            hub.cuts[file] = (times - 1, after_bytes)
        cut = data[:after_bytes] if times > 0 else data
        with hub.lock:
            hub.sent_bytes[file] += len(cut)
        self._send(status, cut, headers, promised=len(data))
        self.close_connection = self.close_connection or len(cut) < len(data)

    def _stall(self, status, data, headers):
        """Send a part, and nothing more while the test looks at what the client does."""
        self._send(status, data[:STALLED_BYTES], headers, promised=len(data))
        self.server_hub.is_stalled.set()
        self.server_hub.may_go_on.wait(30)
        self.close_connection = True

    def _send(self, status, body, headers, promised=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # a client that has seen enough


def _blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(file, data):
    entry = {"type": "file", "path": file, "size": len(data), "oid": _blob_id(data)}
    if file.endswith(LARGE):
        oid = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 130}
    return entry


_NAME = r"([^/]+/[^/]+)"
ROUTES = (
    (r"/api/models", "models"),
    (rf"/api/models/{_NAME}/revision/(.+)", "model"),
    (rf"/api/models/{_NAME}/tree/([^/]+)", "tree"),
    (rf"/api/models/{_NAME}/refs", "refs"),
    (rf"/api/models/{_NAME}/preupload/(.+)", "preupload"),
    (rf"/api/models/{_NAME}/commit/(.+)", "commit"),
    (rf"/api/models/{_NAME}/branch/(.+)", "branch"),
    (rf"/api/models/{_NAME}", "model"),
    (r"/api/repos/create", "create"),
    (r"/api/validate-yaml", "validate_yaml"),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", "lfs_batch"),
    (r"/upload/(\w+)", "upload"),
    (r"/verify", "verify"),
    (rf"/cdn/{_NAME}/(\w+)/(.+)", "cdn"),
    (rf"/{_NAME}/resolve/([^/]+)/(.+)", "resolve"),
)
"""Pages, and the methods that answer them; the first match counts."""
