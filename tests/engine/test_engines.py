"""Three engines, one interface, the same faces to one grey level."""

import builtins
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sparnet.engine import ENGINES, Engine, open_engine
from sparnet.engine.openvino import OpenvinoEngine
from sparnet.errors import SparnetError, WeightsError
from sparnet.weights.catalog import find_model


def random_faces(count: int, *, side: int = 128) -> np.ndarray:
    """Smooth faces-to-be, as bicubic enlargement makes them."""
    from sparnet.image import resize_bicubic

    if count == 0:
        return np.zeros((0, side, side, 3), dtype=np.uint8)
    chance = np.random.default_rng(3)
    coarse = chance.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return np.stack([resize_bicubic(one, side, side) for one in coarse])


def run_exactly(name: str, model: str | Path, faces: np.ndarray) -> np.ndarray:
    return open_engine(model, engine=name, precision="fp32", threads=1).run(faces).astype(int)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_has_the_interface(small_model, name):
    engine = open_engine(small_model, engine=name, threads=1)
    assert isinstance(engine, Engine)
    assert engine.info.name == "small"
    assert engine.run(random_faces(0)).shape == (0, 128, 128, 3)
    one, many = engine.run(random_faces(5)[2:3]), engine.run(random_faces(5))
    assert one.dtype == np.uint8
    assert many.shape == (5, 128, 128, 3)
    assert np.abs(many[2].astype(int) - one[0]).max() <= 1, "a face does not depend on those beside it"


@pytest.mark.parametrize("model", ["small", "shipped"])
def test_the_engines_agree_to_one_grey_level(model, small_model):
    path = small_model if model == "small" else "sparnet-x8"
    engines = [open_engine(path, engine=name, precision="fp32", threads=1) for name in ENGINES]
    faces = random_faces(3, side=engines[0].info.input_size)
    made = [engine.run(faces).astype(int) for engine in engines]
    for other in made[1:]:
        assert np.abs(other - made[0]).max() <= 1
    assert made[0].std() > 5


def test_the_engines_agree_on_real_faces(real_faces):
    from sparnet.image import resize_bicubic

    inputs = np.stack([resize_bicubic(face, 16, 16) for face in real_faces])
    made = [
        open_engine("sparnet-x8", engine=name, precision="fp32", threads=1).run(inputs).astype(int)
        for name in ENGINES
    ]
    assert all(np.abs(other - made[0]).max() <= 1 for other in made[1:])


@pytest.mark.parametrize("name", ENGINES)
def test_faces_of_another_size_are_refused(small_model, name):
    with pytest.raises(ValueError, match="reads faces of 128 x 128 px"):
        open_engine(small_model, engine=name).run(random_faces(1, side=64))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"\x08\x07" + b"x" * 5000], ids=["empty", "text", "junk"]
)
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path, name, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"m\.onnx: ") as refused:
        open_engine(path, engine=name)
    assert "\n" not in str(refused.value)


def test_a_flipped_bit_is_refused(tmp_path, small_model):
    content = bytearray(small_model.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "m.onnx"
    path.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match="damaged"):
        open_engine(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("name", ENGINES)
def test_a_model_whose_name_is_not_utf_8_is_opened(tmp_path, name):
    path = tmp_path / os.fsdecode(b"bad\xff.onnx")
    path.write_bytes(find_model("sparnet-x8").read_bytes())
    assert open_engine(path, engine=name, threads=1).info.name == "sparnet-x8"


def test_an_unknown_engine_is_refused(small_model):
    with pytest.raises(
        ValueError, match="engine must be one of openvino, onnxruntime, torch, onnxruntime-cpu"
    ):
        open_engine(small_model, engine="tensorflow")


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be 1 or more, got 0"),
        ({"threads": -3}, "threads must be 1 or more, got -3"),
        ({"precision": "fp16"}, "precision must be one of auto, fp32, bf16, got 'fp16'"),
    ],
)
def test_arguments_out_of_range_are_no_damaged_file(small_model, name, options, message):
    with pytest.raises((ValueError, TypeCheckError)) as refused:
        open_engine(small_model, engine=name, **options)
    if "precision" not in options:
        assert str(refused.value) == message


def test_an_engine_that_is_not_installed_says_what_to_install(small_model, monkeypatch):
    def without(name, *arguments, **options):
        if name == "onnxruntime":
            raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
        return imported(name, *arguments, **options)

    imported = builtins.__import__
    monkeypatch.delitem(__import__("sys").modules, "sparnet.engine.onnxruntime", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SparnetError, match=r"needs the package onnxruntime: pip install 'sparnet\[ort\]'"):
        open_engine(small_model, engine="onnxruntime")


def test_many_batches_one_after_another_never_wait_for_ever(small_model):
    faces = random_faces(3)
    for _ in range(20):
        engine = OpenvinoEngine(small_model, threads=2)
        engine.run(faces)
        del engine


_FORK = """
import faulthandler, os, sys
import numpy as np
from sparnet.engine.openvino import OpenvinoEngine
from pathlib import Path

engine = OpenvinoEngine(Path(sys.argv[1]), precision="fp32", threads=2)
faces = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
made = engine.run(faces)
child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(60, exit=True)
    os._exit(0 if np.array_equal(engine.run(faces), made) else 3)
assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(engine.run(faces), made)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are not made by fork")
def test_a_process_made_by_fork_runs_the_model_and_does_not_wait_for_ever(small_model):
    ended = subprocess.run(
        [sys.executable, "-c", _FORK, str(small_model)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


class InterruptedRequest:
    """A request that is at work from its start until it is waited for; the first wait is interrupted."""

    interruptions = 1

    def __init__(self, request):
        self.request = request
        self.is_busy = False

    def start_async(self, inputs):
        if self.is_busy:
            raise RuntimeError("Infer Request is busy")
        self.is_busy = True
        self.request.start_async(inputs)

    def wait(self):
        if self.is_busy and InterruptedRequest.interruptions:
            InterruptedRequest.interruptions = 0
            raise KeyboardInterrupt
        self.request.wait()
        self.is_busy = False

    def get_output_tensor(self):
        return self.request.get_output_tensor()


def test_an_engine_that_was_interrupted_runs_again(small_model, monkeypatch):
    faces = random_faces(5)
    engine = OpenvinoEngine(small_model, threads=1)
    wanted = engine.run(faces)
    pair = [InterruptedRequest(engine._many.create_infer_request()) for _ in range(2)]
    monkeypatch.setitem(vars(engine), "_requests", pair)
    with pytest.raises(KeyboardInterrupt):
        engine.run(faces[::-1].copy())
    np.testing.assert_array_equal(engine.run(faces), wanted)


def test_attention_maps_are_weights_from_0_to_1_in_order_of_depth(small_model, small_network):
    maps = OpenvinoEngine(small_model).attention_maps(random_faces(1))
    assert len(maps) == sum(unit.attention is not None for unit in small_network.units)
    assert all(one.ndim == 3 and 0 < one.min() <= one.max() < 1 for one in maps)
    assert maps[-1].shape[1:] == (128, 128)


def test_a_provider_is_chosen_by_its_name(small_model, monkeypatch):
    faces = random_faces(2)
    engine = open_engine(small_model, engine="onnxruntime-cpu", threads=1)
    assert np.abs(engine.run(faces).astype(int) - run_exactly("openvino", small_model, faces)).max() <= 1


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-coreml"])
def test_a_provider_that_is_not_installed_is_told_in_a_line(small_model, monkeypatch, name):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(SparnetError, match=r"this ONNX Runtime has no \w+, only CPU") as refused:
        open_engine(small_model, engine=name)
    assert "\n" not in str(refused.value)
    assert ("pip install onnxruntime-gpu" in str(refused.value)) == (name == "onnxruntime-cuda")


def test_a_provider_that_does_not_start_is_no_silent_fallback(small_model, monkeypatch):
    import onnxruntime

    made = onnxruntime.InferenceSession
    asked = []

    def on_the_cpu_after_all(path, options, *, providers, enable_fallback):
        asked.extend(providers)
        return made(path, options, providers=["CPUExecutionProvider"], enable_fallback=enable_fallback)

    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", on_the_cpu_after_all)
    with pytest.raises(SparnetError, match="cannot start CUDAExecutionProvider"):
        open_engine(small_model, engine="onnxruntime-cuda")
    assert asked == names


def test_the_compiled_torch_engine_compiles_the_fast_form_for_any_batch(small_model, monkeypatch):
    import torch

    seen = []

    def stand_in(network, *, dynamic):
        seen.append((type(network).__name__, dynamic))
        return network

    monkeypatch.setattr(torch, "compile", stand_in)
    faces = random_faces(2)
    made = open_engine(small_model, engine="torch-compile", threads=1).run(faces)
    assert seen == [("SPARNet", True)]
    assert np.abs(made.astype(int) - run_exactly("openvino", small_model, faces)).max() <= 1
