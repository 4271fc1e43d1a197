"""The HTTP server of a trained model: MLflow's scoring protocol behind a guard.

MLflow's scoring server has no limit of size, answers with the input or a traceback where
something is wrong, and checks no Host. The guard does, under `ganatomy serve` and, but for the
Host, which MLflow's command line has no option for, under `mlflow models serve`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

MAX_BYTES = 256 << 20
# Seconds that a client may take to send one request.
PATIENCE = 60.0
# An oversized request is read to this many times the limit before the line is cut: a client
# that is still sending does not see an answer.
DRAIN = 4
PATHS = {"/ping": "GET", "/health": "GET", "/version": "GET", "/invocations": "POST"}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# For worker processes, which are started without arguments.
SETTINGS = "GANATOMY_SERVE"
# Of a request to `mlflow models serve`, which has no option for it.
LIMIT = "GANATOMY_MAX_BYTES"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

EXPECTED = (
    'expected {"dataframe_records": [{"scan": "BASE64"}]} or {"dataframe_records": '
    '[{"pixels": [[0.1, 0.2], [0.3, 0.4]]}]}'
)

_log = logging.getLogger(__name__)


def serve(
    uri: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 5001,
    max_bytes: int = MAX_BYTES,
    workers: int = 1,
    allowed_hosts: Iterable[str] = (),
) -> None:
    """Serve a trained model until the process is told to end.

    There is no password: beyond this machine it belongs behind a proxy that asks for one.

    Args:
        uri: a model folder or any MLflow URI.
        host: address to listen at.
        port: to listen at.
        max_bytes: of a request.
        workers: processes, each with its own copy of the model.
        allowed_hosts: names that clients may call this server by, beside localhost and `host`.

    Raises:
        ganatomy.artifacts.ArtifactError: there is no such model.
    """
    import uvicorn

    from ganatomy.artifacts import local_folder, read_config

    folder = local_folder(uri)
    read_config(folder)
    hosts = [*LOOPBACK, host, *allowed_hosts]
    settings = {"folder": str(folder.resolve()), "max_bytes": max_bytes, "hosts": hosts}
    options: dict[str, Any] = {"host": host, "port": port, "server_header": False}
    if workers == 1:
        uvicorn.run(build_app(**settings), **options)
        return
    os.environ[SETTINGS] = json.dumps(settings)
    uvicorn.run("ganatomy.server:worker", factory=True, workers=workers, **options)


def worker() -> App:
    """The app of one of several worker processes."""
    return build_app(**json.loads(os.environ[SETTINGS]))


def build_app(folder: str | Path, max_bytes: int, hosts: Iterable[str]) -> App:
    """Load a model folder, no code of which is run, and guard its scoring server."""
    from mlflow.models import Model
    from mlflow.pyfunc import PyFuncModel, scoring_server

    from ganatomy.artifacts import read_config
    from ganatomy.served import Answers
    from ganatomy.serving import signature

    meta = Model(signature=signature(read_config(Path(folder))))
    meta.add_flavor("python_function", loader_module="ganatomy.served")
    model = PyFuncModel(model_meta=meta, model_impl=Answers(folder))
    return Guard(scoring_server.init(model), max_bytes, hosts)


def guard_mlflow() -> None:
    """Guard the scoring server that this process is about to build, if it is one of MLflow's.

    `mlflow models serve` loads a model's code, and only then makes its FastAPI app, by a name that
    it looks up at that moment. The app made next is guarded, and no other.

    Raises:
        ganatomy.errors.WrongUse: GANATOMY_MAX_BYTES is no size.
    """
    from mlflow.pyfunc import scoring_server

    if scoring_server._SERVER_MODEL_PATH not in os.environ:
        return
    import fastapi

    from ganatomy.errors import WrongUse

    limit = os.environ.get(LIMIT, str(MAX_BYTES))
    if not limit.isdecimal() or int(limit) == 0:
        raise WrongUse(f"{LIMIT} is {limit!r}; expected a number of bytes")
    plain = fastapi.FastAPI

    class Guarded(plain):
        def __init__(self, **options: Any):
            fastapi.FastAPI = plain
            super().__init__(**options)
            self._guard = Guard(super().__call__, int(limit), ["*"])

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self._guard(scope, receive, send)

    fastapi.FastAPI = Guarded


class Guard:
    """Lets whole, small requests to known paths and hosts through; answers errors in one line.

    Args:
        app: MLflow's scoring server.
        max_bytes: of a request.
        hosts: names in the Host header, without port; any where `*` is among them.
    """

    def __init__(self, app: App, max_bytes: int, hosts: Iterable[str]):
        self.app, self.max_bytes = app, max_bytes
        self.hosts = {host.strip("[]").lower() for host in hosts}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket: closed before it is opened
            await send({"type": "websocket.close", "code": 1000})
            return
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        body = b""
        if refusal is None:
            try:
                async with asyncio.timeout(PATIENCE):
                    body = await self._body(headers, receive)
            except TimeoutError:
                refusal = 408, "the request took too long to arrive"
            except ConnectionError:
                return
            except OverflowError:
                refusal = 413, f"the request is too large; expected at most {self.max_bytes} bytes"
        if refusal is not None:
            await _answer(send, *refusal)
            return
        await self._ask(scope, body, send)

    def _refusal(self, scope: Message, headers: dict[str, bytes]) -> tuple[int, str] | None:
        host = _without_port(headers.get("host", b"").decode("latin-1")).lower()
        if "*" not in self.hosts and host not in self.hosts:
            return 400, "the Host header names none of the allowed hosts"
        method = PATHS.get(scope["path"])
        if method is None:
            return 404, f"no such path; expected one of {', '.join(PATHS)}"
        if scope["method"] != method:
            return 405, f"this path expects {method}"
        kind = headers.get("content-type", b"").decode("latin-1").partition(";")[0].strip()
        if method == "POST" and kind.lower() != "application/json":
            return 415, f"expected Content-Type: application/json, and in it {EXPECTED[9:]}"
        return None

    async def _body(self, headers: dict[str, bytes], receive: Receive) -> bytes:
        """The whole body.

        Raises:
            OverflowError: it is too large, claimed or sent; what is too much is thrown away.
            ConnectionError: the client went.
        """
        claimed = headers.get("content-length", b"")
        excess = claimed.isdigit() and int(claimed) > self.max_bytes
        if excess and int(claimed) > DRAIN * self.max_bytes:
            raise OverflowError
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            size += len(message.get("body", b""))
            if size > self.max_bytes:
                excess = True
                parts.clear()
                if size > DRAIN * self.max_bytes:
                    raise OverflowError
            if not excess:
                parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        if excess:
            raise OverflowError
        return b"".join(parts)

    async def _ask(self, scope: Message, body: bytes, send: Send) -> None:
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        status, parts = 500, []

        async def receive() -> Message:
            if waiting:
                return waiting.pop()
            await asyncio.Event().wait()  # nothing more comes
            raise AssertionError

        async def collect(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        try:
            await self.app(scope, receive, collect)
        except Exception as error:
            _log.error("%s while answering a request", type(error).__name__)
            status = 400 if isinstance(error, RecursionError) else 500
        content = b"".join(parts)
        if status < 400:
            await _send(send, status, content)
        else:
            await _answer(send, status, _line(status, content))


def _line(status: int, content: bytes) -> str:
    """Our own line where the model gave one; MLflow's own texts quote the input."""
    from ganatomy.served import REFUSED

    try:
        said = json.loads(content)
        if said["error_class"] == REFUSED:
            return said["message"]
    except (ValueError, KeyError, TypeError):
        pass
    if status == 504:
        return "the answer took too long"
    return f"the request is not understood; {EXPECTED}" if status < 500 else "the model failed"


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


async def _answer(send: Send, status: int, line: str) -> None:
    code = "INTERNAL_ERROR" if status >= 500 else "INVALID_PARAMETER_VALUE"
    await _send(send, status, json.dumps({"error_code": code, "message": line}).encode())


async def _send(send: Send, status: int, content: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
