"""A Hub without a network: the real Hub library talks to it through an in-memory transport."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

import httpx2

COMMIT = "c" * 40


@dataclass
class FakeHub:
    """Large files (.safetensors) are stored by sha256, others by git's id, as on the real Hub."""

    files: dict[str, bytes]
    repo_id: str = "org/tiny"
    requests: list[httpx2.Request] = field(default_factory=list)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Part of a path -> the status and X-Error-Code it is answered with."""
    offline: bool = False
    cut_after: int | None = None
    """The connection breaks after so many bytes of each large file."""

    def client(self) -> httpx2.Client:
        return httpx2.Client(transport=httpx2.MockTransport(self._answer), follow_redirects=True)

    def fetched(self, name: str) -> list[str]:
        """The ranges in which a file was asked for, empty for all of it."""
        asked = (request for request in self.requests if request.method == "GET" and request.url.path.endswith(name))
        return [request.headers.get("range", "") for request in asked]

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self.offline:
            raise httpx2.ConnectError("no route", request=request)
        path = unquote(request.url.path)
        for part, (status, code) in self.refuse.items():
            if part in path:
                return httpx2.Response(status, headers={"X-Error-Code": code}, request=request)
        if path.startswith(f"/api/models/{self.repo_id}/tree/"):
            return httpx2.Response(200, json=[self._entry(name) for name in self.files])
        if re.fullmatch(f"/api/models/{self.repo_id}(/revision/[^/]+)?", path):
            return httpx2.Response(200, json=self._info())
        name = path.rpartition("/")[2]
        if path.startswith(f"/{self.repo_id}/resolve/") and name in self.files:
            return self._file(request, name)
        return httpx2.Response(404, headers={"X-Error-Code": "RepoNotFound"})

    def _info(self) -> dict:
        siblings = []
        for name, content in self.files.items():
            sibling = {"rfilename": name, "size": len(content), "blobId": _git_id(content)}
            if name.endswith(".safetensors"):
                sibling["lfs"] = {"size": len(content), "sha256": _sha256(content), "pointerSize": 100}
            siblings.append(sibling)
        return {"id": self.repo_id, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}

    def _entry(self, name: str) -> dict:
        content = self.files[name]
        entry = {"type": "file", "path": name, "size": len(content), "oid": _git_id(content)}
        if name.endswith(".safetensors"):
            entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 100}
        return entry

    def _file(self, request: httpx2.Request, name: str) -> httpx2.Response:
        content = self.files[name]
        large = name.endswith(".safetensors")
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_sha256(content) if large else _git_id(content)}"'}
        start = int(request.headers["range"].removeprefix("bytes=").rstrip("-")) if "range" in request.headers else 0
        headers["Content-Length"] = str(len(content) - start)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if request.method == "HEAD":
            return httpx2.Response(200, headers=headers)
        body = self._cut(content[start:], request) if large else iter([content[start:]])
        return httpx2.Response(206 if start else 200, headers=headers, stream=_Stream(body))

    def _cut(self, content: bytes, request: httpx2.Request) -> Iterator[bytes]:
        if self.cut_after is None:
            yield content
            return
        yield content[: self.cut_after]
        self.offline = True
        raise httpx2.ReadError("connection lost", request=request)


class _Stream(httpx2.SyncByteStream):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def model_files() -> dict[str, bytes]:
    return {
        "config.json": json.dumps({"model_type": "llama"}).encode(),
        "model.safetensors": bytes(range(256)) * 40,
        "tokenizer.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "README.md": b"read me",
        "modeling_evil.py": b"evil",
        "pytorch_model.bin": b"pickle",
        "onnx/model.safetensors": b"another",
        "consolidated.safetensors": b"second copy",
    }
