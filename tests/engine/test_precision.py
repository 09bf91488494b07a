"""Which arithmetic is used unasked, and what it costs."""

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


@pytest.mark.parametrize("impossible", [{"bf16"}, {"bf16", "fp32"}])
def test_what_openvino_cannot_compute_in_bfloat16_it_computes_in_float32(
    small_model, monkeypatch, impossible
):
    """As models of 8-bit integers on processors with AMX, where OpenVINO has no kernels for both."""
    faces = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    exact = OpenvinoEngine(small_model, precision="fp32", threads=1).run(faces)
    compiles = OpenvinoEngine._compile

    def refuses(engine, model, **options):
        if engine.precision in impossible:
            raise WeightsError(f"no suitable implementations in {engine.precision}")
        return compiles(engine, model, **options)

    monkeypatch.setattr(OpenvinoEngine, "_compile", refuses)
    monkeypatch.setattr("sparnet.engine.openvino.choose_precision", lambda *_, **__: "bf16")
    monkeypatch.setattr("sparnet.engine.openvino.open_cache", lambda: None)
    engine = OpenvinoEngine(small_model, threads=1)
    if "fp32" in impossible:
        with pytest.raises(WeightsError, match="in fp32"):
            engine.run(faces)
    else:
        np.testing.assert_array_equal(engine.run(faces), exact)
    assert engine.precision == "fp32"
