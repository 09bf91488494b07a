"""What tests of all parts share: one thread, a cache of their own, a small model, real faces."""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pytest

from tests.shared_data import find_shared, read_test_faces

os.environ["OMP_NUM_THREADS"] = "1"  # two test processes on two cores would wait for each other's threads

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background, where a shell ignores Ctrl-C: programs under test would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's folders out of every test."""
    with pytest.MonkeyPatch.context() as patch:
        _use_cache(patch, tmp_path_factory.mktemp("cache"))
        patch.delenv("SPARNET_WEIGHTS", raising=False)
        yield


def _use_cache(patch: pytest.MonkeyPatch, folder: Path) -> Path:
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        patch.setenv(variable, str(folder))
    if sys.platform == "darwin":
        patch.setenv("HOME", str(folder))
        return folder / "Library" / "Caches" / "sparnet"
    return folder / "sparnet"


@pytest.fixture
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder for this test alone; it does not exist yet."""
    return _use_cache(monkeypatch, tmp_path / "user-cache")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs."""
    return find_shared("faces/faces128-test").parents[1]


@pytest.fixture(scope="session")
def real_faces() -> list[np.ndarray]:
    """Three faces of the test pack at 128 px."""
    return list(itertools.islice(read_test_faces(), 3))


class Ended(NamedTuple):
    """How a run of the program ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on standard error."""
        return self.err.splitlines()


@pytest.fixture
def sparnet_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the program in this process."""
    from sparnet.cli import main

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        code = ending.value.code
        captured = capsys.readouterr()
        if isinstance(code, str):  # Python prints it when it ends
            return Ended(1, captured.out, f"{captured.err}{code}\n")
        return Ended(int(code or 0), captured.out, captured.err)

    return run


class VariantMaker(Protocol):
    """Make a model file that differs from the small one in what it says of itself."""

    def __call__(self, path: Path, **changes: object) -> Path: ...


@pytest.fixture(scope="session")
def small_network():
    """A network of few layers and channels, 128 px, every tensor of it random."""
    import torch

    from sparnet.network.generator import SPARNet
    from tests.small_models import small_config

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = SPARNet(small_config(spectral_norm=True))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if "running_mean" in name or name.endswith("norm.bias"):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
            elif "running_var" in name or name.endswith("norm.weight"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return network.eval()


@pytest.fixture(scope="session")
def small_model(small_network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network as a model file. It is made once: torch.onnx.export takes seconds."""
    from tests.small_models import write_model

    path = tmp_path_factory.mktemp("model") / "small.onnx"
    write_model(small_network, path)
    return path


@pytest.fixture(scope="session")
def make_variant(small_model: Path) -> VariantMaker:
    import onnx

    from sparnet.weights.info import METADATA_KEY, dump_info, parse_info
    from sparnet.weights.seal import SEAL_KEY, seal

    def make(path: Path, **changes: object) -> Path:
        model = onnx.load_model_from_string(small_model.read_bytes())
        texts = {entry.key: entry.value for entry in model.metadata_props}
        info = parse_info(texts[METADATA_KEY], source=small_model).model_copy(update=changes)
        del model.metadata_props[:]
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, dump_info(info)
        assert SEAL_KEY in texts
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(seal(model.SerializeToString(deterministic=True)))
        return path

    return make


@pytest.fixture(scope="session")
def add_to_catalog() -> Callable[..., None]:
    """Enter a model file that lies in a folder into the folder's catalog."""
    from sparnet.weights.catalog import describe_file, read_catalog, write_catalog
    from sparnet.weights.info import ModelInfo

    def add(path: Path, name: str, **facts: object) -> None:
        described = {
            "name": name, "task": "upscale", "upscale_factor": 8, "image_size": 128, "input_size": 128,
            "network": {}, "parameters": 1, "license": "none", **facts,
        }  # fmt: skip
        entry = describe_file(path, ModelInfo.model_validate(described))
        catalog = read_catalog(path.parent)
        write_catalog(path.parent, catalog.model_copy(update={"models": catalog.models | {name: entry}}))

    return add
