"""A small Hugging Face hub on 127.0.0.1: enough of its protocol for `datasets` and `huggingface_hub`.

The endpoints are those of https://huggingface.co/.well-known/openapi.json: `resolve`, of models and datasets,
and `api/datasets` (info, tree, paths-info, search), with the hub's error codes in `X-Error-Code`.
"""

import contextlib
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_right"
_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
_RESOLVE = re.compile(rf"(?:/datasets)?/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_API = re.compile(
    rf"/api/datasets/{_REPO}(?:/(?P<what>revision|tree|paths-info)/(?P<revision>[^/]+))?(?:/(?P<path>.*))?"
)


@dataclass
class Repository:
    """The files of a dataset or a model by path; other revisions than main beside them."""

    files: Mapping[str, bytes]
    revisions: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commits(self) -> dict[str, Mapping[str, bytes]]:
        """Files by commit hash, and by every name of a revision."""
        found: dict[str, Mapping[str, bytes]] = {}
        for name, files in {"main": self.files, **self.revisions}.items():
            found[name] = found[commit_of(files)] = files
        return found


def commit_of(files: Mapping[str, bytes]) -> str:
    """The commit hash of a set of files."""
    digest = hashlib.sha1()
    for path, raw in sorted(files.items()):
        digest.update(f"{path} {_sha256(raw)}\n".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=256)  # every request asks for it
def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


class Hub(ThreadingHTTPServer):
    """The server and what it remembers of its clients."""

    daemon_threads = True

    def __init__(self, repositories: Mapping[str, Repository]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = dict(repositories)
        self.asked: list[str] = []
        self.sent: Counter[str] = Counter()  # bytes of bodies by file
        # How many bytes of a file's body come before the line goes dead, and how often that happens.
        self.cuts: dict[str, tuple[int, int]] = {}
        self.most: dict[
            str, int
        ] = {}  # bytes of a file's bodies, all answers together, after which none comes

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.server_port}"

    def cut(self, path: str, *, after: int, times: int) -> None:
        """Drop the connection `times` times, each time when `after` bytes of the file have been sent."""
        self.cuts[path] = (after, times)


@contextlib.contextmanager
def serve(repositories: Mapping[str, Repository]) -> Iterator[Hub]:
    """A hub that answers until the block ends."""
    server = Hub(repositories)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Refused(Exception):
    """An answer that is no success: status, code and message as the hub sends them."""


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._respond()

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def _respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        self.server.asked.append(f"{self.command} {unquote(self.path)}")
        parts = urlsplit(self.path)  # a proxy is asked for whole addresses
        try:
            if parts.path == "/api/datasets":
                self._search(parse_qs(parts.query))
            elif match := _RESOLVE.fullmatch(parts.path):
                self._file(self._files(match), unquote(match["path"]), match)
            elif match := _API.fullmatch(parts.path):
                self._about(match, body, parse_qs(parts.query))
            else:
                raise _Refused(404, "EntryNotFound", "Not found")
        except _Refused as refused:
            status, code, message = refused.args
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": message})

    def _files(self, match: re.Match[str]) -> Mapping[str, bytes]:
        """The files that are asked for, if this client may have them."""
        repository = self.server.repositories.get(match["repo"])
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given and given not in (TOKEN, "hf_no_access"):
            # No error code: that is what the hub sends for a token it does not know.
            raise _Refused(401, "", "Invalid credentials in Authorization header")
        if repository is None or (repository.private and given != TOKEN):
            raise _Refused(404 if given else 401, "RepoNotFound", "Repository not found")
        if repository.gated and given != TOKEN and match.re is _RESOLVE:
            raise _Refused(
                403 if given else 401, "GatedRepo", f"Access to dataset {match['repo']} is restricted"
            )
        revision = unquote(match["revision"] or "main")
        commits = repository.commits()
        if revision not in commits:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commits[revision]

    def _about(self, match: re.Match[str], body: bytes, query: Mapping[str, list[str]]) -> None:
        files = self._files(match)
        path = unquote(match["path"] or "")
        if match["what"] == "tree":
            entries = _tree(files, path, recursive=query.get("recursive", [""])[0].lower() == "true")
            if path and not entries:
                raise _Refused(404, "EntryNotFound", f"{path} does not exist")
            self._json(entries)
        elif match["what"] == "paths-info":
            wanted = {name.strip("/") for name in parse_qs(body.decode()).get("paths", [])}
            self._json([entry for entry in _every_entry(files) if entry["path"] in wanted])
        else:
            siblings = [{"rfilename": name} for name in files]
            self._json({"id": match["repo"], "sha": commit_of(files), "siblings": siblings, "private": False})

    def _search(self, query: Mapping[str, list[str]]) -> None:
        wanted, author = (query.get(key, [""])[0].lower() for key in ("search", "author"))
        names = [name for name, repo in self.server.repositories.items() if not repo.private]
        found = [name for name in names if name.lower().startswith(author and f"{author}/")]
        self._json([{"id": name} for name in found if wanted in name.lower()])

    def _file(self, files: Mapping[str, bytes], path: str, match: re.Match[str]) -> None:
        if path not in files:
            raise _Refused(404, "EntryNotFound", "Entry not found")
        raw = files[path]
        headers = {"ETag": f'"{_sha256(raw)}"', "X-Repo-Commit": commit_of(files)}
        first, last = 0, len(raw) - 1
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), min(last, int(wanted[2] or last))
            headers["Content-Range"] = f"bytes {first}-{last}/{len(raw)}"
        self._send(206 if wanted else 200, raw[first : last + 1], {**headers, "Accept-Ranges": "bytes"}, path)

    def _json(self, document: object) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], path: str = "") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        after, times = self.server.cuts.get(path, (0, 0))
        if times and len(body) > after:
            self.server.cuts[path] = (after, times - 1)
            body = body[:after]
            self.close_connection = True
        if len(body) > (left := self.server.most.get(path, 1 << 40) - self.server.sent[path]):
            body = body[: max(0, left)]
            self.close_connection = True
        self.server.sent[path] += len(body)
        # A client may hang up first.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _every_entry(files: Mapping[str, bytes]) -> list[dict[str, object]]:
    folders = {"/".join(path.split("/")[:n]) for path in files for n in range(1, path.count("/") + 1)}
    entries: list[dict[str, object]] = [
        {"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders
    ]
    for path, raw in files.items():
        entries.append({"type": "file", "path": path, "oid": _sha256(raw)[:40], "size": len(raw)})
    return sorted(entries, key=lambda entry: str(entry["path"]))


def _tree(files: Mapping[str, bytes], folder: str, *, recursive: bool) -> list[dict[str, object]]:
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    inside = [entry for entry in _every_entry(files) if str(entry["path"]).startswith(prefix)]
    return [entry for entry in inside if recursive or "/" not in str(entry["path"])[len(prefix) :]]
