"""What the HTTP server adds to the model: latency and requests a second beside the bare call."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import trained
from benchmarks.harness import Result, Row, in_turns, percentile, ratios, row

QUESTION = "Serving: latency and requests a second, beside the bare model call"
HEADERS = {"Content-Type": "application/json"}
# A client that waits longer has met a server that hangs.
PATIENCE = 120


def measure(quick: bool) -> Result:
    trained.threads(len(os.sched_getaffinity(0)))
    from anogan import AnomalyScorer
    from ganatomy.scans import read_scan

    folder = trained.model_folder("fanogan-chest-xray", *trained.SHORT)
    content = picture()
    scorer = AnomalyScorer.load(folder)
    scan = read_scan(content)
    body = json.dumps({"dataframe_records": [{"scan": base64.b64encode(content).decode()}]})
    blocks, requests = (2, 10) if quick else (6, 50)
    taken: dict[str, list[list[float]]] = {}

    def rival(name: str, block: Callable[[], tuple[float, list[float]]]) -> Callable[[], float]:
        taken[name] = []

        def work() -> float:
            whole, each = block()
            taken[name].append(each)
            return whole

        return work

    port = free_port()
    server = start(folder, port)
    try:
        times = in_turns(
            {
                "answer": rival("answer", lambda: called(lambda: scorer.answer([scan]), requests)),
                "read": rival(
                    "read", lambda: called(lambda: scorer.answer([read_scan(content)]), requests)
                ),
                "1": rival("1", lambda: asked(port, body, 1, requests)),
                "4": rival("4", lambda: asked(port, body, 4, requests)),
            },
            blocks,
        )
    finally:
        server.terminate()
        server.wait()
    for name in taken:
        taken[name] = taken[name][1:]  # the first is the warm-up
    of = f"blocks of {requests} requests"
    names = {
        "answer": "bare call: `AnomalyScorer.answer` of a scan",
        "read": "bare call that decodes the PNG first",
        "1": "server, one client",
        "4": "server, four clients",
    }
    rows = []
    for name, called_it in names.items():
        for share, title in ((0.5, "p50"), (0.99, "p99")):
            rows.append(over_blocks(f"{called_it}, {title}", taken[name], share, requests))
        rows.append(row(f"{called_it}, throughput", "requests/s",
                        [requests / t for t in times[name]], of))  # fmt: skip
    middle = {name: [statistics.median(block) for block in taken[name]] for name in taken}
    rows.append(
        row("server, one client / bare call that decodes", "×", ratios(middle["1"], middle["read"]),
            of)
    )  # fmt: skip
    return Result(
        rows,
        [
            f"One PNG of 224×224 ({len(content) >> 10} KiB) a request, as base64 in JSON, over a "
            "connection that stays open; preset `fanogan-chest-xray`; `ganatomy serve` with one "
            "worker. Clients, the bare call and the server share the machine's processors, the "
            "bare call and the server in turns.",
            "p50 and p99 are over all requests, their smallest and largest over the blocks. With "
            f"{blocks * requests} requests p99 rests on the slowest "
            f"{max(1, blocks * requests // 100)}.",
            "The server lets one request at a time into the model, so four clients wait for each "
            "other: their latency is about four times one client's by design.",
        ],
    )


def picture() -> bytes:
    """A test radiograph as PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.open(next((trained.DATA / "test" / "pneumonia").glob("*.jpeg"))).save(file, "PNG")
    return file.getvalue()


def free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        return asking.getsockname()[1]


def start(folder: Path, port: int) -> subprocess.Popen:
    """`ganatomy serve` as a user starts it, once it answers."""
    command = [str(Path(sys.executable).with_name("ganatomy")), "serve", str(folder)]
    server = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if server.poll() is not None:
            raise RuntimeError(f"ganatomy serve ended with code {server.returncode}")
        try:
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            line.request("GET", "/ping")
            if line.getresponse().status == 200:
                return server
        except OSError:
            time.sleep(0.2)
    server.terminate()
    raise RuntimeError(f"ganatomy serve did not answer within {PATIENCE} seconds")


def called(work: Callable[[], object], count: int) -> tuple[float, list[float]]:
    """Seconds of all calls, and of each."""
    each = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        each.append(time.perf_counter() - began)
    return sum(each), each


def asked(port: int, body: str, clients: int, count: int) -> tuple[float, list[float]]:
    """Seconds until `count` requests of so many clients are answered, and of each request."""
    each: list[float] = []
    failed: list[str] = []

    def client(own: int) -> None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        for _ in range(own):
            began = time.perf_counter()
            line.request("POST", "/invocations", body, HEADERS)
            response = line.getresponse()
            content = response.read()
            each.append(time.perf_counter() - began)
            if response.status != 200:
                failed.append(f"{response.status} {content[:200]!r}")
                return
        line.close()

    shares = [count // clients + (n < count % clients) for n in range(clients)]
    running = [threading.Thread(target=client, args=[share]) for share in shares]
    began = time.perf_counter()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    whole = time.perf_counter() - began
    if failed:
        raise RuntimeError(f"the server answered {failed[0]}")
    if len(each) != count:
        raise RuntimeError(f"{count - len(each)} of {count} requests were not answered")
    return whole, each


def over_blocks(what: str, blocks: list[list[float]], share: float, size: int) -> Row:
    """A percentile over all requests in ms, its smallest and largest over the blocks."""
    everything = [value for block in blocks for value in block]
    own = [1000 * percentile(block, share) for block in blocks]
    return Row(
        what,
        "ms",
        1000 * percentile(everything, share),
        min(own),
        max(own),
        f"{len(blocks)} blocks of {size} requests",
    )
