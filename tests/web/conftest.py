"""A server on a free port of this computer, in a thread, with a small model that restores."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import PIL.Image
import pytest
import skimage.data

from sparnet.image import write_image
from sparnet.web.app import make_app
from sparnet.web.guard import Guard
from sparnet.web.metrics import Metrics
from sparnet.web.server import listen, make_server
from sparnet.web.service import Service, open_service
from sparnet.web.settings import Settings


@pytest.fixture(scope="session")
def restoring_model(make_variant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model that says of itself that it restores."""
    path = tmp_path_factory.mktemp("web") / "restoring.onnx"
    return make_variant(path, task="restore", upscale_factor=None, name="restoring")


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph of two faces: Eileen Collins (NASA, public domain) beside her mirror image."""
    picture = PIL.Image.fromarray(skimage.data.astronaut()).crop((100, 0, 356, 256))
    pixels = np.array(picture.resize((192, 192)))
    path = tmp_path_factory.mktemp("photo") / "two faces.jpg"
    write_image(path, np.ascontiguousarray(np.concatenate([pixels, pixels[:, ::-1]], axis=1)))
    return path


@dataclass
class Running:
    """A server that runs."""

    address: str
    settings: Settings
    service: Service
    app: Guard

    def client(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=60, trust_env=False, **options)

    def post(self, path: str, content: bytes, **fields) -> httpx.Response:
        with self.client() as client:
            return client.post(path, files={"picture": ("any.bin", content)}, data=fields)

    def get(self, path: str, **options) -> httpx.Response:
        with self.client() as client:
            return client.get(path, **options)


@contextmanager
def running(models: list[str], **changes) -> Iterator[Running]:
    """Serve on a free port until the end of the block."""
    settings = Settings(**{"port": 0, **changes})
    metrics = Metrics()
    service = open_service(settings, metrics, models=models, threads=1)
    app = make_app(settings, service, metrics, version="test")
    opened = listen(settings)
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Running(f"http://127.0.0.1:{opened.getsockname()[1]}", settings, service, app)
    finally:
        server.should_exit = True
        thread.join()
        service.close()


@pytest.fixture(scope="session")
def server(restoring_model: Path, small_model: Path) -> Iterator[Running]:
    """A server with the usual limits, but for smaller ones that tests run into."""
    with running(
        [str(restoring_model), str(small_model)],
        max_bytes=2_000_000,
        max_pixels=1_000_000,
        max_result_pixels=2_000_000,
    ) as one:
        yield one


@pytest.fixture
def no_restorer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that has no model that restores."""
    from sparnet.web import service

    monkeypatch.setattr(service, "known_models", dict)
