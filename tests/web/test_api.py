"""The HTTP API: the same pictures as the command line, and one line for what it refuses."""

import base64
import json
import threading
import time
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from sparnet.image import Photo, decode_photo, encode_photo
from sparnet.web.batching import Ticket
from sparnet.web.service import PixelBudget
from tests.web.conftest import running


def restored_by_cli(sparnet_cli, photo, model, folder, *options) -> bytes:
    ended = sparnet_cli("restore", photo, "-o", folder, "-m", model, *options)
    assert ended.code == 0, ended.err
    return next(folder.iterdir()).read_bytes()


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, []),
        ({"faces": "2"}, ["--faces", "2"]),
        ({"fidelity": "0.35"}, ["-w", "0.35"]),
        ({"upscale_factor": "2", "format": "png"}, ["-s", "2", "--ext", "png"]),
        ({"max_faces": "1", "format": "webp"}, ["--max-faces", "1", "--ext", "webp"]),
        ({"min_face": "500"}, ["--min-face", "500"]),
        ({"only_center_face": "true"}, ["--only-center-face"]),
    ],
)
def test_a_restored_photo_equals_the_file_of_the_command_line(
    server, photo, restoring_model, sparnet_cli, tmp_path, fields, options
):
    answer = server.post("/v1/restore", photo.read_bytes(), **fields)
    assert answer.status_code == 200, answer.text
    assert answer.content == restored_by_cli(sparnet_cli, photo, restoring_model, tmp_path / "out", *options)


def test_an_aligned_face_equals_the_file_of_the_command_line(
    server, restoring_model, sparnet_cli, tmp_path, photo
):
    face = tmp_path / "face.png"
    pixels = np.ascontiguousarray(decode_photo(photo.read_bytes()).pixels[:150, :150])
    face.write_bytes(encode_photo(Photo(pixels), ".png"))
    answer = server.post("/v1/restore", face.read_bytes(), aligned="true")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == restored_by_cli(
        sparnet_cli, face, restoring_model, tmp_path / "out", "--aligned"
    )


def test_an_enlarged_face_equals_the_file_of_the_command_line(server, small_model, sparnet_cli, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    face = tmp_path / "face.webp"
    face.write_bytes(encode_photo(Photo(pixels), ".webp"))
    sparnet_cli("upscale", face, "-o", tmp_path / "out", "-m", small_model)
    answer = server.post("/v1/upscale", face.read_bytes())
    assert answer.content == (tmp_path / "out" / "face.png").read_bytes()


def test_a_photo_without_a_face_comes_back_to_the_byte(server):
    content = encode_photo(Photo(np.full((64, 64, 3), 90, dtype=np.uint8)), ".jpg")
    answer = server.post("/v1/restore", content, output="json").json()
    assert not answer["is_changed"]
    assert answer["notes"] == ["no face found; the photo is as it was"]
    assert base64.b64decode(answer["picture"]["base64"]) == content


def test_a_tiff_without_a_face_comes_back_to_the_byte_as_tiff(server):
    content = encode_photo(Photo(np.full((64, 64, 3), 90, dtype=np.uint8)), ".tif") + b"more"
    assert server.post("/v1/restore", content, format="tiff").content == content


def test_small_faces_are_enlarged_by_the_engine_that_is_loaded(server, photo, monkeypatch):
    """Not by one that each request opens."""

    def opened(*_, **__):
        raise AssertionError("a model is opened for a request")

    monkeypatch.setattr("sparnet.restoration.open_engine", opened)
    pixels = decode_photo(photo.read_bytes()).pixels
    (face, *_) = server.service.detector.detect(pixels)
    share = 16 / face.size_px
    small = replace(face, box=tuple(share * edge for edge in face.box), points=share * face.points)
    monkeypatch.setattr(server.service.detector, "detect", lambda _: [small])
    size = (round(share * pixels.shape[1]), round(share * pixels.shape[0]))
    content = encode_photo(Photo(np.array(PIL.Image.fromarray(pixels).resize(size))), ".png")
    answer = server.post("/v1/restore", content, output="json").json()
    assert [one["skipped"] for one in answer["faces"]] == [None]
    assert server.service.small_faces in server.service.engines


def test_attention_maps_are_said_to_be_of_the_model_that_made_them(server, monkeypatch):
    """Tiny faces from 32 px on are enlarged by another model than the first of its task."""
    monkeypatch.setattr(server.service, "attention", lambda *_: ("sparnet-x4", []))
    answer = server.post("/v1/attention", b"any", task="upscale").json()
    assert answer == {"model": "sparnet-x4", "maps": []}


def test_json_holds_the_faces_before_and_after(server, photo):
    answer = server.post("/v1/restore", photo.read_bytes(), output="json", crops="true", faces="1").json()
    assert [face["number"] for face in answer["faces"]] == [1, 2]
    first, second = answer["faces"]
    assert first["skipped"] is None
    assert second["skipped"] == "not among the faces asked for (1)"
    assert second["after"] is None
    assert first["after"]["media_type"] == "image/jpeg"
    crop = decode_photo(base64.b64decode(first["after"]["base64"]))
    assert crop.pixels.shape == (128, 128, 3)


def test_progress_tells_faces_then_each_one_made_then_the_result(server, photo):
    answer = server.post("/v1/restore", photo.read_bytes(), output="progress", fidelity="0.01")
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [next(iter(event)) for event in events] == ["faces", "face", "face", "result"]
    assert len(events[0]["faces"]) == 2
    plain = server.post("/v1/restore", photo.read_bytes(), fidelity="0.01").content
    assert base64.b64decode(events[-1]["result"]["picture"]["base64"]) == plain


def test_formats_that_browsers_do_not_show_come_with_ones_that_they_do(server, photo):
    tiff = encode_photo(decode_photo(photo.read_bytes()), ".tif")
    answer = server.post("/v1/restore", tiff, output="json", shown="true").json()
    assert answer["picture"]["media_type"] == "image/tiff"
    assert answer["shown"]["before"]["media_type"] == answer["shown"]["after"]["media_type"] == "image/jpeg"


def test_faces_are_found_without_restoring(server, photo):
    answer = server.post("/v1/faces", photo.read_bytes()).json()
    assert (answer["width"], answer["height"]) == (384, 192)
    assert [face["number"] for face in answer["faces"]] == [1, 2]


@pytest.mark.parametrize("task", ["restore", "upscale"])
def test_attention_maps_are_pictures(server, photo, task):
    answer = server.post("/v1/attention", photo.read_bytes(), task=task).json()
    assert answer["maps"]
    for one in answer["maps"]:
        assert decode_photo(base64.b64decode(one["base64"])).pixels.shape == (256, 256, 3)


def test_models_and_limits_are_told(server):
    answer = server.get("/v1/models").json()
    loaded = {model["name"]: model["task"] for model in answer["models"] if model["is_loaded"]}
    assert loaded == {"restoring": "restore", "small": "upscale"}
    assert answer["limits"]["max_bytes"] == 2_000_000


def test_metrics_count_requests_faces_and_batches(server, photo):
    server.post("/v1/restore", photo.read_bytes(), fidelity="0.02")
    answer = server.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'sparnet_requests_total{route="/v1/restore",status="200"}' in answer.text
    assert "sparnet_batch_faces_count" in answer.text
    faces = next(line for line in answer.text.splitlines() if line.startswith("sparnet_faces_total"))
    assert float(faces.split()[1]) >= 2


@pytest.mark.parametrize(
    ("path", "fields", "status", "words"),
    [
        ("/v1/restore", {"fidelty": "1"}, 422, "unknown field 'fidelty'"),
        ("/v1/restore", {"fidelity": "2"}, 422, "fidelity: Input should be less than or equal to 1"),
        ("/v1/restore", {"faces": "9"}, 422, "face 9 was asked for, the photo shows 2 faces"),
        ("/v1/restore", {"faces": "1,x"}, 422, "faces: expected numbers of faces from 1, as in 1,3"),
        ("/v1/restore", {"faces": ",".join(map(str, range(1, 70)))}, 422, "face 3 was asked for"),
        ("/v1/restore", {"faces": "1" * 40_000}, 422, "faces: expected numbers of faces from 1, as in 1,3"),
        ("/v1/restore", {"aligned": "true", "faces": "1"}, 422, "faces: does not go with aligned"),
        ("/v1/restore", {"aligned": "true", "min_face": "30"}, 422, "min_face: does not go with aligned"),
        ("/v1/restore?fidelity=1", {}, 422, "unknown parameter 'fidelity'"),
        ("/v1/restore", {"upscale_factor": "4"}, 413, "enlarged 4 times"),
        ("/v1/restore", {"aligned": "true"}, 422, "is not square"),
        ("/v1/upscale", {}, 422, "is larger than the 128 x 128 px this model makes"),
        ("/v1/attention", {"face": "7"}, 422, "face 7 was asked for, the photo shows 2"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(server, photo, path, fields, status, words):
    content = photo.read_bytes()
    if fields.get("upscale_factor"):
        content = encode_photo(Photo(np.zeros((400, 400, 3), dtype=np.uint8)), ".png")
    answer = server.post(path, content, **fields)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


@pytest.mark.usefixtures("no_restorer")
def test_without_a_model_that_restores_faces_are_found_and_restoring_says_why_not(photo, small_model):
    with running([str(small_model)]) as server:
        assert len(server.post("/v1/faces", photo.read_bytes()).json()["faces"]) == 2
        answer = server.post("/v1/restore", photo.read_bytes())
        assert answer.status_code == 409
        assert "sparnet serve -m MODEL" in answer.json()["detail"]


def test_what_is_remembered_is_forgotten(photo, restoring_model, small_model, monkeypatch):
    from sparnet.web import app

    monkeypatch.setattr(app, "_FORGETS_EVERY_SECONDS", 0.05)
    with running([str(restoring_model), str(small_model)], remember_seconds=3.0) as server:
        server.post("/v1/restore", photo.read_bytes())
        kept = server.service.remembered
        threading.Event().wait(3.2)
        assert (kept, server.service.remembered) == (3, 0)


def test_a_changed_choice_asks_nothing_of_the_network_again(server, photo):
    def batches() -> float:
        text = server.get("/metrics").text
        return float(text.split('sparnet_batch_faces_count{task="restore"} ')[1].split()[0])

    server.post("/v1/restore", photo.read_bytes())
    before = batches()
    assert server.post("/v1/restore", photo.read_bytes(), fidelity="0.77").status_code == 200
    assert batches() == before


def test_a_large_photo_is_not_overtaken_by_small_ones():
    budget, order = PixelBudget(100), []

    def work(pixels: int) -> None:
        with budget.use(pixels, Ticket(20.0)):
            order.append(pixels)

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in (100, 1)]
    with budget.use(50, Ticket(20.0)):
        for thread in threads:
            thread.start()
            time.sleep(0.3)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == [100, 1]
