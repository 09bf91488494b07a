"""Which arithmetic is used unasked, and what it costs."""

from typing import ClassVar

import numpy as np
import pytest

from sparnet.engine.base import LARGEST_LOSS_DB, choose_precision
from sparnet.engine.openvino import OpenvinoEngine
from sparnet.errors import SparnetError, WeightsError
from sparnet.weights.catalog import find_model, shipped_models
from sparnet.weights.info import ModelInfo

INFO = ModelInfo(
    name="m", task="upscale", image_size=128, input_size=128, network={}, parameters=1, license="none"
)


def info(**changes: object) -> ModelInfo:
    return INFO.model_copy(update=changes)


def test_bfloat16_is_used_unasked_only_where_it_was_measured_to_be_harmless_and_is_fast():
    harmless = info(bf16_loss_db=LARGEST_LOSS_DB - 0.001)
    assert choose_precision("auto", harmless, has_bf16=True) == "bf16"
    assert choose_precision("auto", harmless, has_bf16=False) == "fp32"
    assert choose_precision("auto", info(bf16_loss_db=LARGEST_LOSS_DB), has_bf16=True) == "fp32"
    assert choose_precision("auto", info(), has_bf16=True) == "fp32", "nobody has measured it"
    assert choose_precision("auto", info(arithmetic="int8"), has_bf16=True) == "bf16"


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
@pytest.mark.parametrize("has_bf16", [True, False])
def test_what_is_asked_for_is_what_is_used(asked, has_bf16):
    assert choose_precision(asked, info(bf16_loss_db=5.0), has_bf16=has_bf16) == asked


def test_every_shipped_model_of_floats_says_what_bfloat16_costs():
    for name, entry in shipped_models().items():
        if entry.info.arithmetic == "float":
            assert entry.info.bf16_loss_db is not None, name
            assert entry.info.bf16_loss_db < LARGEST_LOSS_DB, name


def test_the_default_uses_bfloat16_where_the_processor_has_it_and_costs_next_to_nothing(real_faces):
    import openvino

    from sparnet.image import resize_bicubic
    from sparnet.metrics.y_sparnet import psnr_y

    path = find_model("sparnet-x8")
    default = OpenvinoEngine(path, threads=1)
    has_bf16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert default.precision == ("bf16" if has_bf16 else "fp32")
    inputs = np.stack([resize_bicubic(face, 16, 16) for face in real_faces])
    exact = OpenvinoEngine(path, precision="fp32", threads=1).run(inputs)
    for hr, a, b in zip(real_faces, default.run(inputs), exact, strict=True):
        # A single face; the mean over the test set, which the rule is about, is 20 times less.
        assert psnr_y(a, hr) > psnr_y(b, hr) - 0.03


def test_a_processor_without_bfloat16_says_so_when_asked_for_it(small_model, monkeypatch):
    import openvino

    class Old(openvino.Core):
        def get_property(self, device, name=None, *rest):
            return (
                ["FP32", "INT8"]
                if name == "OPTIMIZATION_CAPABILITIES"
                else super().get_property(device, name)
            )

    monkeypatch.setattr(openvino, "Core", Old)
    with pytest.raises(SparnetError, match="does not compute in bf16; use fp32"):
        OpenvinoEngine(small_model, precision="bf16")
    assert OpenvinoEngine(small_model).precision == "fp32"


@pytest.fixture
def without_kernels(monkeypatch):
    """Put an OpenVINO in place that refuses some arithmetics, and notes what it was asked to compile in."""
    import openvino

    class Core(openvino.Core):
        impossible = frozenset({"bf16"})
        asked: ClassVar[list[str]] = []

        def compile_model(self, model, device, options):
            self.asked.append(options["INFERENCE_PRECISION_HINT"])
            self.refuse(options)
            return super().compile_model(model, device, options)

        def import_model(self, kept, device, options):
            self.refuse(options)
            return super().import_model(kept, device, options)

        def refuse(self, options):
            if options["INFERENCE_PRECISION_HINT"] in self.impossible:
                raise RuntimeError("No suitable implementations.")

    monkeypatch.setattr(openvino, "Core", Core)
    monkeypatch.setattr("sparnet.engine.openvino.choose_precision", lambda *_, **__: "bf16")
    return Core


FACES = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)


@pytest.fixture
def exact(small_model):
    return OpenvinoEngine(small_model, precision="fp32", threads=1)


@pytest.mark.parametrize("impossible", [{"bf16"}, {"bf16", "f32"}])
def test_what_openvino_cannot_compute_in_bfloat16_it_computes_in_float32(
    exact, without_kernels, small_model, monkeypatch, impossible
):
    """As models of 8-bit integers on processors with AMX, where OpenVINO has no kernels for both."""
    made = exact.run(FACES)
    monkeypatch.setattr("sparnet.engine.openvino.open_cache", lambda: None)
    without_kernels.impossible = impossible
    without_kernels.asked.clear()
    engine = OpenvinoEngine(small_model, threads=1)
    if "f32" in impossible:
        with pytest.raises(WeightsError, match="a damaged one"):
            engine.run(FACES)
    else:
        np.testing.assert_array_equal(engine.run(FACES), made)
    assert without_kernels.asked == ["bf16", "f32"]
    assert engine.precision == "fp32"


@pytest.mark.usefixtures("user_cache")
def test_what_was_compiled_in_float32_instead_is_kept(exact, without_kernels, small_model):
    made = exact.run(FACES)
    OpenvinoEngine(small_model, threads=1).run(FACES)
    without_kernels.asked.clear()
    again = OpenvinoEngine(small_model, threads=1)
    np.testing.assert_array_equal(again.run(FACES), made)
    assert without_kernels.asked == []
    assert again.precision == "fp32"


def test_attention_maps_are_computed_in_float32_where_bfloat16_cannot_be(exact, without_kernels, small_model):
    made = exact.attention_maps(FACES[:1])
    again = OpenvinoEngine(small_model, threads=1).attention_maps(FACES[:1])
    assert len(again) == len(made) > 0
    assert all(np.array_equal(one, other) for one, other in zip(again, made, strict=True))
