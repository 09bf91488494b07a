"""What a server does with clients that mean it harm, or are only clumsy."""

import asyncio
import io
import json
import socket
import struct
import tempfile
import threading
import time
import zipfile
import zlib
from contextlib import closing

import numpy as np
import PIL.Image
import pytest

from sparnet.errors import SparnetError
from sparnet.image import Photo, encode_photo
from sparnet.web import server as server_module
from sparnet.web.guard import SECURITY_HEADERS, _Answer
from sparnet.web.settings import Settings, check_exposure, host_is_allowed
from tests.web.conftest import running

PIXELS = np.full((32, 32, 3), 120, dtype=np.uint8)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, rows: bytes = b"") -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def encoded(kind: str, **options) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(file, kind, **options)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../photo.jpg", bytes(1_000_000))
    return file.getvalue()


def gif_of(width: int, height: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HH", width, height)
        + b"\x80\0\0"
        + b"\0\0\0\xff\xff\xff"
        + (b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02D\x01\0;")
    )


def tiff_of(width: int, height: int) -> bytes:
    tags = (
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
    )
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


JPEG = encode_photo(Photo(PIXELS), ".jpg")
TOKEN = "tulips-42"  # noqa: S105 - no secret
HOSTILE = {
    "a bomb of a PNG: 10 gigapixels of zeros": png(100_000, 100_000, rows=zlib.compress(bytes(10_000_000))),
    "a PNG of the largest sides there are": png(2**31 - 1, 2**31 - 1),
    "a PNG of no size": png(0, 0),
    "a PNG with a megabyte of text that unpacks to a gigabyte": png(
        32, 32, png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(500_000_000), 9))
    ),
    "a PNG with a profile that unpacks to 500 MB": png(
        32, 32, png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(500_000_000), 9))
    ),
    "a PNG whose pixels end early": png(32, 32, rows=zlib.compress(b"\0" + bytes(96))),
    "a bomb of a GIF": gif_of(65_535, 65_535),
    "a bomb of a TIFF": tiff_of(100_000, 100_000),
    "a TIFF whose directory leads to itself": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "a bomb of a BMP": encoded("BMP")[:18] + struct.pack("<ii", 2**30, 2**30) + encoded("BMP")[26:],
    "a WebP that is cut": encoded("WEBP")[:40],
    "an SVG with a script": SVG,
    "a page": HTML,
    "a JPEG that is cut": JPEG[: len(JPEG) // 2],
    "a JPEG in which every second byte is lost": JPEG[::2],
    "a polyglot of JPEG and page": JPEG + HTML,
    "a polyglot of GIF and script": encoded("GIF") + b"*/=1;alert(1)//",
    "a zip with a way out": zipped(),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n",
    "an AVIF of nothing": b"\0\0\0\x1cftypavif" + bytes(100),
    "nothing": b"",
    "noise": np.random.default_rng(0).bytes(100_000),
    "a JPEG with EXIF that leads to itself": encoded(
        "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHII", 1, 0x8769, 4, 1, 8) + bytes(4)
    ),
}  # fmt: skip


def raw(server) -> socket.socket:
    return socket.create_connection(raw_address(server), timeout=20)


def raw_address(server) -> tuple[str, int]:
    host, port = server.address.removeprefix("http://").split(":")
    return host, int(port)


def head(server, length: int, *lines: str) -> bytes:
    host = server.address.removeprefix("http://")
    return "\r\n".join(
        [
            "POST /v1/restore HTTP/1.1",
            f"Host: {host}",
            f"Content-Length: {length}",
            "Content-Type: multipart/form-data; boundary=b",
            *lines,
            "",
            "",
        ]
    ).encode()


def wait_until(is_so) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about in 20 seconds"
        time.sleep(0.01)


@pytest.mark.parametrize("path", ["/v1/restore", "/v1/upscale"])
def test_hostile_uploads_leave_it_serving(server, path):
    """No answer is a failure of the server; what comes back is a picture that was sent, or one line."""
    assert len(HOSTILE) >= 20
    for name, content in HOSTILE.items():
        answer = server.post(path, content)
        assert answer.status_code in (200, 413, 422), (name, answer.text)
        if answer.status_code == 200:
            assert answer.headers["content-type"].startswith("image/"), name
            assert answer.headers["content-disposition"].startswith("attachment"), name
        else:
            assert "\n" not in answer.json()["detail"], name
    assert server.get("/healthz").json()["status"] == "ok"
    assert server.post("/v1/faces", JPEG).json()["faces"] == []


def test_a_bomb_is_refused_before_it_is_decoded(server):
    started = time.perf_counter()
    answer = server.post("/v1/restore", HOSTILE["a bomb of a PNG: 10 gigapixels of zeros"])
    assert answer.status_code in (413, 422)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("kind", ["application/json", "image/jpeg", "text/plain", "multipart/form-data", ""])
def test_a_body_that_is_no_form_is_refused(server, kind):
    with server.client() as client:
        answer = client.post("/v1/restore", content=JPEG, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["application/x-www-form-urlencoded"], "multipart/form-data, got application/x-www-form"),
        (["multipart/form-data; boundary=b; charset=punycode"], "in utf-8, got charset punycode"),
        (["multipart/form-data; boundary=b; charset=utf-7", "text/plain"], "got several content types"),
    ],
)
def test_forms_that_are_slow_to_parse_are_refused(server, kinds, words):
    """Their parser runs on the event loop: it would hold up every other client."""
    body = b'--b\r\nContent-Disposition: form-data; name="faces"\r\n\r\n-' + b"a" * 30_000 + b"\r\n--b--\r\n"
    with server.client() as client:
        headers = [("Content-Type", kind) for kind in kinds]
        answer = client.post("/v1/restore", content=body, headers=headers)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_a_body_that_is_too_large_is_refused_by_its_length_and_by_its_bytes(server):
    def pieces():
        for _ in range(30):
            yield bytes(100_000)

    with server.client(headers={"Content-Type": "multipart/form-data; boundary=b"}) as client:
        stated = client.post("/v1/restore", content=bytes(3_000_000))
        streamed = client.post("/v1/restore", content=pieces())
    assert (stated.status_code, streamed.status_code) == (413, 413)
    assert stated.json()["detail"] == "the request is larger than 2 MB; send a smaller file"


def test_a_slow_body_is_cut_off(small_model):
    with running([str(small_model)], body_grace_seconds=0.4) as server, closing(raw(server)) as line:
        line.sendall(head(server, 100_000) + b"--b")
        answer = line.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408")
        assert server.get("/healthz").status_code == 200


def test_a_body_that_trickles_is_cut_off(small_model):
    with running([str(small_model)], body_grace_seconds=0.4) as server, closing(raw(server)) as line:
        line.sendall(head(server, 100_000))
        started = time.perf_counter()
        answer = b""
        line.settimeout(0.05)
        while not answer and time.perf_counter() - started < 10:
            try:
                line.sendall(b"x")
                answer = line.recv(4096)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408")


def test_headers_that_do_not_come_are_cut_off(small_model, monkeypatch):
    monkeypatch.setattr(server_module.ImpatientProtocol, "header_seconds", 0.3)
    with running([str(small_model)]) as server, closing(raw(server)) as line:
        line.sendall(b"POST /v1/restore HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        assert line.recv(100) == b""


def test_the_end_of_an_answer_that_is_not_read_does_not_stay(small_model, monkeypatch):
    lost = threading.Event()

    class Narrow(server_module.ImpatientProtocol):
        header_seconds = 0.3

        def connection_made(self, transport):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024)
            super().connection_made(transport)

        def connection_lost(self, exc):
            super().connection_lost(exc)
            lost.set()

    monkeypatch.setattr(server_module, "ImpatientProtocol", Narrow)
    with running([str(small_model)]) as server, closing(socket.socket()) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        line.connect(raw_address(server))
        line.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert lost.wait(10)


def requests_answered(server) -> float:
    """How many requests the server has been done with, whether or not their clients were still there."""
    families = server.app.metrics.requests.collect()
    return sum(
        sample.value for family in families for sample in family.samples if sample.name.endswith("_total")
    )


def test_bodies_that_break_off_leave_it_serving(server):
    before = requests_answered(server)
    for _ in range(40):
        with closing(raw(server)) as line:
            line.sendall(head(server, 100_000) + b"--b\r\nContent-Disposition: form-data; name=picture")
    # Until then the next may get a 429. (One left from the test before may be answered meanwhile.)
    wait_until(lambda: requests_answered(server) >= before + 40 and server.app.desk._taken == 0)
    assert server.post("/v1/faces", JPEG).status_code == 200
    wait_until(lambda: server.app.desk._taken == 0)


def test_a_client_that_leaves_gives_its_place_back(server, photo):
    body = b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n' + photo.read_bytes()
    body += b"\r\n--b--\r\n"
    before = requests_answered(server)
    for _ in range(3):
        with closing(raw(server)) as line:
            line.sendall(head(server, len(body)) + body)
    wait_until(lambda: requests_answered(server) >= before + 3 and server.app.desk._taken == 0)


class Blocking:
    """A detector that waits until it is let go."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()

    def detect(self, image):
        self.begun.release()
        self.let_go.wait(30)
        return []


def test_more_requests_than_may_wait_are_sent_away_with_429(small_model):
    with running([str(small_model)], workers=1, max_waiting=1) as server:
        server.service.detector = blocking = Blocking()
        answers = []
        clients = [
            threading.Thread(target=lambda: answers.append(server.post("/v1/faces", JPEG))) for _ in range(2)
        ]
        for client in clients:
            client.start()
        assert blocking.begun.acquire(timeout=20)
        wait_until(lambda: server.app.desk._taken == 2)
        refused = server.post("/v1/faces", JPEG)
        blocking.let_go.set()
        for client in clients:
            client.join()
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert [answer.status_code for answer in answers] == [200, 200]


def test_no_request_is_let_in_that_could_not_be_done_in_time(small_model):
    """It is told to come again, rather than to wait for nothing."""
    with running([str(small_model)], workers=1, time_limit_seconds=10.0) as server:
        server.service.detector = blocking = Blocking()
        wait_until(lambda: server.app.desk._usual_seconds != 1.0)  # the network is warm
        server.app.desk.expect(6.0)
        first = threading.Thread(target=server.post, args=("/v1/faces", JPEG))
        first.start()
        assert blocking.begun.acquire(timeout=20)
        refused = server.post("/v1/faces", JPEG)
        blocking.let_go.set()
        first.join()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")


def test_a_request_that_takes_too_long_is_given_up_and_counts_until_its_thread_ends(small_model):
    with running([str(small_model)], time_limit_seconds=0.3) as server:
        server.service.detector = blocking = Blocking()
        answer = server.post("/v1/faces", JPEG)
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("this took longer than 0.3 s")
        wait_until(lambda: server.app.desk._taken == 1)
        blocking.let_go.set()
        wait_until(lambda: server.app.desk._taken == 0)
        assert server.get("/healthz").status_code == 200


def test_a_client_that_leaves_is_counted_as_one(small_model):
    with running([str(small_model)]) as server:
        server.service.detector = blocking = Blocking()
        body = b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n' + JPEG
        body += b"\r\n--b--\r\n"
        with closing(raw(server)) as line:
            line.sendall(head(server, len(body)).replace(b"/v1/restore", b"/v1/faces") + body)
            assert blocking.begun.acquire(timeout=20)
        counted = 'sparnet_requests_total{route="/v1/faces",status="499"} 1.0'
        wait_until(lambda: counted in server.get("/metrics").text)
        blocking.let_go.set()


def test_work_in_hand_is_answered_when_the_server_is_stopped(small_model, caplog):
    answers = []
    with running([str(small_model)]) as server:
        server.service.detector = blocking = Blocking()
        client = threading.Thread(target=lambda: answers.append(server.post("/v1/faces", JPEG)))
        client.start()
        assert blocking.begun.acquire(timeout=20)
    client.join()
    blocking.let_go.set()
    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (503, {"detail": "the server is being stopped"})
    ]
    assert not any(record.exc_info for record in caplog.records)


def test_a_large_answer_is_handed_on_in_pieces():
    """Each waits until the client has taken those before, within a time."""
    sent = []

    async def send(message):
        sent.append(message)

    content = np.random.default_rng(0).bytes(1_000_000)
    answer = _Answer(send, path="/v1/restore")
    asyncio.run(answer.send({"type": "http.response.body", "body": content}))
    assert b"".join(message["body"] for message in sent) == content
    assert max(len(message["body"]) for message in sent) == 256 * 1024
    assert [message.get("more_body", False) for message in sent] == [True, True, True, False]


@pytest.mark.parametrize("token", [" tulips", "tulips ", "tülips"])
def test_a_token_that_could_not_be_sent_is_refused_at_the_start(sparnet_cli, token):
    ended = sparnet_cli("serve", "--port", "0", "--auth-token", token)
    assert ended.code == 2
    assert "--auth-token" in ended.err


def test_the_name_that_a_client_gives_a_file_is_not_used(server, tmp_path):
    with server.client() as client:
        for name in ("../../../etc/passwd", "C:\\a.jpg", str(tmp_path / "made.jpg"), "a\r\nX-Bad: 1.jpg"):
            answer = client.post("/v1/restore", files={"picture": (name, JPEG)})
            assert answer.headers["content-disposition"] == 'attachment; filename="restored.jpg"'
            assert "x-bad" not in answer.headers
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/v1/models", "/v1/none", "/metrics"])
def test_every_answer_has_the_security_headers(server, path):
    answer = server.get(path)
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value
    assert answer.headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/%2fetc/passwd"]
)
def test_no_file_beside_the_page_is_given(server, path):
    with closing(raw(server)) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "10.0.0.1", ""]
)
def test_a_page_that_took_this_computers_address_under_its_own_name_is_refused(server, host):
    assert server.get("/", headers={"Host": host}).status_code in (400, 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_of_other_sites_may_not_post(server, headers):
    with server.client() as client:
        answer = client.post("/v1/faces", files={"picture": ("a", JPEG)}, headers=headers)
    assert answer.status_code == 403


def test_names_that_a_server_answers_to():
    local = Settings()
    assert all(
        host_is_allowed(host, local) for host in ("localhost:1", "127.0.0.1", "[::1]:7860", "LOCALHOST.")
    )
    assert not any(host_is_allowed(host, local) for host in ("192.168.1.2", "example.org", "::", "[::1"))
    everywhere = Settings(host="0.0.0.0", allowed_hosts=("faces.example",))  # noqa: S104 - what is tested
    assert all(host_is_allowed(host, everywhere) for host in ("192.168.1.2:80", "Faces.example"))
    assert not host_is_allowed("evil.example", everywhere)


def test_a_token_opens_the_api_and_nothing_else_does(small_model):
    with running([str(small_model)], auth_token=TOKEN) as server:
        assert server.get("/healthz").status_code == server.get("/").status_code == 200
        for shown in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer gärten"):
            answer = server.get("/v1/models", headers={"Authorization": shown.encode("latin-1")})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/metrics", "/openapi.json"):
            assert server.get(path).status_code == 401


def test_the_token_lets_in(small_model):
    with running([str(small_model)], auth_token=TOKEN) as server:
        answer = server.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "faces.example"])  # noqa: S104
def test_other_computers_are_not_let_in_without_a_token(host):
    with pytest.raises(SparnetError, match="set a token"):
        check_exposure(Settings(host=host), insecure=False)
    check_exposure(Settings(host=host), insecure=True)
    check_exposure(Settings(host=host, auth_token=TOKEN), insecure=False)


def test_the_program_refuses_it_too(sparnet_cli):
    ended = sparnet_cli("serve", "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert ended.code == 1
    assert ended.errors[0].startswith("sparnet: 0.0.0.0 can be reached by other computers; set a token")


def test_a_port_that_is_taken_is_told_in_one_line(sparnet_cli, server):
    port = server.address.rsplit(":", 1)[1]
    ended = sparnet_cli("serve", "--port", port)
    assert ended.code == 1
    assert ended.errors == [
        f"sparnet: 127.0.0.1:{port}: cannot be listened on (Address already in use); name another --port"
    ]


def test_two_models_of_one_kind_are_refused(sparnet_cli, small_model):
    ended = sparnet_cli("serve", "--port", "0", "-m", small_model, "-m", small_model)
    assert ended.errors == ["sparnet: small and small both enlarge tiny faces; name one"]


def test_nothing_of_an_upload_touches_the_disk(server, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def written(_):
        raise AssertionError("an upload is written to the disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", written)
    assert server.post("/v1/restore", photo.read_bytes(), output="json", crops="true").status_code == 200
    large = encode_photo(
        Photo(np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)), ".png"
    )
    assert len(large) > 1_100_000  # beyond what form parsers keep in memory
    assert server.post("/v1/faces", large).status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_problems_are_json_with_one_line(server):
    for path in ("/v1/none", "/v1/restore"):
        answer = server.get(path)
        assert answer.status_code in (404, 405)
        assert list(json.loads(answer.text)) == ["detail"]
