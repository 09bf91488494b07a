"""How `sparnet serve` fares under 50 clients: throughput beside its engine's own, errors, memory.

    taskset -c 1 python benchmarks/serve.py -m hd-light.onnx --seconds 60

The server runs in a process of its own. Its throughput and that of the bare engine, given batches of 8
faces in this process, are measured in turns, so that a machine that is busier for a while is so for
both. Where other programs share the cores, the clock favours whoever has more threads; faces a second of
processor time do not.

Each client sends a face as a JPEG (`POST /v1/restore`, aligned), or a tiny one as a PNG (`POST
/v1/upscale`) for a model that enlarges, reads the answer, and sends the next; sent away with 429, it
waits as long as it is told. The server remembers nothing, so that every face is made.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from sparnet.engine import Engine, open_engine
from sparnet.image import Photo, encode_photo

BATCH = 8
WARM_UP_SECONDS = 10.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", default="sparnet-x8", help="name or file of a model")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0, help="of load, in all")
    parser.add_argument("--turns", type=int, default=4, help="how often both are measured in turn")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    engine = open_engine(options.model, threads=options.threads)
    requests = make_requests(engine)
    with_server = [sys.executable, "-m", "sparnet", "serve", "--port", "0", "--remember", "0"]
    with_server += ["--threads", str(options.threads), "-m", options.model]
    server = subprocess.Popen(with_server, stdout=subprocess.PIPE, text=True)
    try:
        report(options, engine, server, requests)
    finally:
        server.terminate()
        server.wait()


def report(
    options: argparse.Namespace, engine: Engine, server: "subprocess.Popen[str]", requests: list[bytes]
) -> None:
    """Load the server and the engine in turns and print what came of it."""
    told = server.stdout.readline() if server.stdout is not None else ""
    found = re.search(r"http://127\.0\.0\.1:(\d+)", told)
    if found is None:
        raise SystemExit(f"the server did not start: {told}")
    port = int(found.group(1))
    faces = np.random.default_rng(0).integers(
        0, 256, (BATCH, engine.info.input_size, engine.info.input_size, 3), dtype=np.uint8
    )
    engine.run(faces)
    asyncio.run(load(port, requests, options.clients, WARM_UP_SECONDS))
    memory = [memory_of(server.pid)]
    alone = through_server = 0.0
    alone_cpu = server_cpu = 0.0
    statuses: Counter[int] = Counter()
    waits: list[float] = []
    for _ in range(options.turns):
        by_clock, by_cpu = faces_a_second(engine, faces, options.seconds / options.turns / 2)
        alone += by_clock / options.turns
        alone_cpu += by_cpu / options.turns
        used = cpu_seconds_of(server.pid)
        counted, seconds, turn_waits = asyncio.run(
            load(port, requests, options.clients, options.seconds / options.turns)
        )
        statuses += counted
        waits += turn_waits
        through_server += counted[200] / seconds / options.turns
        server_cpu += counted[200] / (cpu_seconds_of(server.pid) - used) / options.turns
        memory.append(memory_of(server.pid))
    result = {
        "model": engine.info.name,
        "clients": options.clients,
        "seconds": options.seconds,
        "answers": {str(status): count for status, count in sorted(statuses.items())},
        "errors_but_429": sum(count for status, count in statuses.items() if status not in (200, 429)),
        "engine_faces_a_second": round(alone, 3),
        "server_faces_a_second": round(through_server, 3),
        "share_of_engine": round(through_server / alone, 3),
        "engine_faces_a_cpu_second": round(alone_cpu, 3),
        "server_faces_a_cpu_second": round(server_cpu, 3),
        "share_of_engine_by_cpu": round(server_cpu / alone_cpu, 3),
        "median_wait_seconds": round(float(np.median(waits)), 3) if waits else None,
        "memory_mb_after_warm_up_and_each_turn": [round(value) for value in memory],
    }
    print(json.dumps(result, indent=2))


def make_requests(engine: Engine) -> list[bytes]:
    """Make requests of different pictures, as bytes that are sent as they are."""
    info = engine.info
    random = np.random.default_rng(1)
    requests = []
    for _ in range(64):
        if info.task == "upscale":
            side = info.image_size // (info.upscale_factor or 8)
            picture, suffix, path = (
                random.integers(0, 256, (side, side, 3), dtype=np.uint8),
                ".png",
                "upscale",
            )
            fields = {"format": "jpg"}
        else:
            coarse = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            picture = coarse.repeat(info.input_size // 16, axis=0).repeat(info.input_size // 16, axis=1)
            suffix, path, fields = ".jpg", "restore", {"aligned": "true"}
        requests.append(request_of(path, encode_photo(Photo(picture), suffix), fields))
    return requests


def request_of(path: str, content: bytes, fields: dict[str, str]) -> bytes:
    """Write a request of HTTP with a form in it."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts.append(b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n' + content)
    body = b"".join(parts) + b"\r\n--b--\r\n"
    head = (
        f"POST /v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    return head.encode() + body


async def load(
    port: int, requests: list[bytes], clients: int, seconds: float
) -> tuple[Counter[int], float, list[float]]:
    """Let clients send requests; return statuses, time until the last answer, and how long each took."""
    statuses: Counter[int] = Counter()
    waits: list[float] = []
    started = time.perf_counter()

    async def client(number: int) -> None:
        turn = number
        reader = writer = None
        while time.perf_counter() < started + seconds:
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            sent = time.perf_counter()
            writer.write(requests[turn % len(requests)])
            await writer.drain()
            status, headers = await answer(reader)
            statuses[status] += 1
            if status == 200:
                waits.append(time.perf_counter() - sent)
                turn += clients
            else:
                writer.close()  # the server does not keep a line on which nothing comes
                reader = writer = None
                await asyncio.sleep(float(headers.get("retry-after", 1)))
        if writer is not None:
            writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return statuses, time.perf_counter() - started, waits


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Read one answer whole."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
    await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers


def faces_a_second(engine: Engine, faces: np.ndarray, seconds: float) -> tuple[float, float]:
    """Run the engine alone on full batches; return faces a second by the clock and of processor time."""
    started, used = time.perf_counter(), time.process_time()
    count = 0
    while time.perf_counter() < started + seconds:
        count += len(engine.run(faces))
    return count / (time.perf_counter() - started), count / (time.process_time() - used)


def cpu_seconds_of(process: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(process: int) -> float:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
