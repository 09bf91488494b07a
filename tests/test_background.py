"""A photo's background enlarged by a model in ONNX that the user names."""

import numpy as np
import onnx
import PIL.Image
import pytest
from onnx import TensorProto, helper, numpy_helper

from sparnet.background import BackgroundModel
from sparnet.errors import ImageError, WeightsError
from sparnet.faces.align import invert, template
from sparnet.faces.detect import Face
from sparnet.restoration import Restorer, enlarge
from sparnet.weights.info import ModelInfo


def write_model(path, *, kind="float", scale=2, side=None, gain=1.0, blur=0, channels=3, inputs=1):
    """Write a model that repeats pixels, perhaps of a blurred picture."""
    rows = side or "rows"
    columns = side or "columns"
    weight = np.zeros((3, 3, 2 * blur + 1, 2 * blur + 1), np.float32)
    for channel in range(3):
        weight[channel, channel] = gain / (2 * blur + 1) ** 2
    constants = [
        numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), "scales"),
        numpy_helper.from_array(weight, "weight"),
    ]
    middle = [
        helper.make_node("Conv", ["x", "weight"], ["y"], pads=[blur] * 4),
        helper.make_node(
            "Resize", ["y", "", "scales"], ["z"], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
    ]  # fmt: skip
    if kind == "float":
        names = helper.make_node("Identity", ["in"], ["x"]), helper.make_node("Identity", ["z"], ["out"])
        types, shape = TensorProto.FLOAT, ["n", channels, rows, columns]
        nodes = [names[0], *(middle if channels == 3 else middle[1:]), names[1]]
        if channels != 3:
            nodes[1].input[0] = "x"
    else:
        types, shape = TensorProto.UINT8, ["n", rows, columns, channels]
        nodes = [
            helper.make_node("Transpose", ["in"], ["t"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["t"], ["x"], to=TensorProto.FLOAT),
            *middle,
            helper.make_node("Cast", ["z"], ["c"], to=TensorProto.UINT8),
            helper.make_node("Transpose", ["c"], ["out"], perm=[0, 2, 3, 1]),
        ]
    entries = [helper.make_tensor_value_info("in", types, shape)]
    entries += [helper.make_tensor_value_info(f"more{n}", TensorProto.FLOAT, [1]) for n in range(inputs - 1)]
    made = [helper.make_tensor_value_info("out", types, ["a", "b", "c", "d"])]
    graph = helper.make_graph(nodes, "g", entries, made, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def noise(height=150, width=230, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def repeated(photo, times):
    return photo.repeat(times, axis=0).repeat(times, axis=1)


@pytest.mark.parametrize("kind", ["float", "uint8"])
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("side", [None, 64])
def test_range_layout_size_and_scale_are_read_from_the_graph(tmp_path, kind, scale, side):
    model = BackgroundModel(write_model(tmp_path / "m.onnx", kind=kind, scale=scale, side=side), threads=1)
    assert (model.scale, model.tile_px) == (scale, side or 256)
    photo = noise()
    np.testing.assert_array_equal(model.enlarge(photo, scale), repeated(photo, scale))


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (224, 224), (225, 449)])
def test_photos_of_any_size_are_enlarged(tmp_path, shape):
    model = BackgroundModel(write_model(tmp_path / "m.onnx"), threads=1)
    photo = noise(*shape)
    np.testing.assert_array_equal(model.enlarge(photo, 2), repeated(photo, 2))


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_no_edge_shows_where_pieces_meet(tmp_path, factor):
    path = write_model(tmp_path / "m.onnx", scale=4, blur=5)
    photo = noise(170, 210)
    pieces = BackgroundModel(path, threads=1, tile_px=64).enlarge(photo, factor)
    whole = BackgroundModel(path, threads=1, tile_px=512).enlarge(photo, factor)
    assert pieces.shape == (170 * factor, 210 * factor, 3)
    assert np.abs(pieces.astype(int) - whole).max() <= 1


def test_another_factor_than_the_models_is_reached_by_resizing(tmp_path):
    model = BackgroundModel(write_model(tmp_path / "m.onnx", scale=4), threads=1)
    photo = noise()
    wanted = PIL.Image.fromarray(repeated(photo, 4)).resize((460, 300), PIL.Image.Resampling.LANCZOS)
    # Pillow rounds between columns and rows, and chooses by the size which come first.
    assert np.abs(model.enlarge(photo, 2).astype(int) - np.asarray(wanted)).max() <= 3


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"channels": 1}, "reads f32"),
        ({"inputs": 2}, "has 2 inputs"),
        ({"gain": 255.0}, "a plain picture comes back"),
        ({"gain": 0.0}, "a plain picture comes back"),
        ({"side": 16}, "expected any size, or squares"),
    ],
)
def test_a_graph_that_is_no_such_model_is_refused(tmp_path, facts, reason):
    with pytest.raises(WeightsError, match=reason) as refused:
        BackgroundModel(write_model(tmp_path / "m.onnx", **facts), threads=1)
    assert str(refused.value).startswith(f"{tmp_path / 'm.onnx'}: ")
    assert "\n" not in str(refused.value)


def test_other_files_are_refused(tmp_path, small_model):
    with pytest.raises(WeightsError, match="no such file"):
        BackgroundModel(tmp_path / "gone.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(WeightsError, match="not an ONNX file"):
        BackgroundModel(tmp_path / "text.onnx")
    cut = write_model(tmp_path / "m.onnx").read_bytes()[:200]
    (tmp_path / "cut.onnx").write_bytes(cut)
    with pytest.raises(WeightsError, match="not an ONNX file"):
        BackgroundModel(tmp_path / "cut.onnx")
    with pytest.raises(WeightsError, match="a model of faces"):
        BackgroundModel(small_model)


def test_a_result_that_would_be_too_large_is_refused(tmp_path, monkeypatch):
    from sparnet import background

    monkeypatch.setattr(background, "MAX_PIXELS", 100_000)
    model = BackgroundModel(write_model(tmp_path / "m.onnx"), threads=1)
    with pytest.raises(ImageError, match="enlarged 2 times it has 460 x 300 pixels, more than 100,000"):
        model.enlarge(noise(), 2)


# In a photo


class StubEngine:
    info = ModelInfo(
        name="stub", task="restore", image_size=64, input_size=64, network={}, parameters=1, license="none"
    )

    def run(self, faces):
        return np.minimum(faces, 205) + np.uint8(50)


class StubDetector:
    def detect(self, image):
        scale = 512 / 90
        transform = np.array([[scale, 0, 255.5 - scale * 120], [0, scale, 255.5 - scale * 75]])
        back = invert(transform)
        return [Face((97.0, 52.0, 143.0, 98.0), 1.0, template(512) @ back[:, :2].T + back[:, 2])]


class Even:
    """Makes a background of one value."""

    def enlarge(self, image, factor):
        return np.full((image.shape[0] * factor, image.shape[1] * factor, 3), 7, dtype=np.uint8)


@pytest.mark.parametrize("factor", [2, 3])
def test_faces_lie_on_the_plain_photo_and_all_else_is_the_models(factor):
    photo = noise()
    options = {"detector": StubDetector(), "upscale_factor": factor, "color_match": 0}
    made = Restorer(StubEngine(), background=Even(), **options).restore(photo).image
    plain = Restorer(StubEngine(), **options).restore(photo).image
    face = np.s_[60 * factor : 90 * factor, 105 * factor : 135 * factor]
    assert np.abs(made[face].astype(int) - plain[face]).max() <= 1
    outside = np.ones(made.shape[:2], dtype=bool)
    outside[28 * factor : 122 * factor, 73 * factor : 167 * factor] = False
    assert (made[outside] == 7).all()
    assert (plain != enlarge(photo, factor)).any()


def test_a_background_at_the_photos_own_size_is_refused():
    with pytest.raises(ValueError, match="upscale_factor must be 2 or more"):
        Restorer(StubEngine(), detector=StubDetector(), background=Even())


def test_it_is_an_option_of_the_program(tmp_path, monkeypatch, sparnet_cli):
    from sparnet import restoration
    from sparnet.image import read_image, write_image

    monkeypatch.setattr(restoration, "open_engine", lambda *_, **__: StubEngine())
    monkeypatch.setattr(restoration, "open_detector", lambda *_, **__: StubDetector())
    write_image(tmp_path / "a.png", noise())
    words = ["restore", tmp_path / "a.png", "-o", tmp_path / "out", "-m", "stub.onnx"]
    model = write_model(tmp_path / "m.onnx", scale=2)
    assert sparnet_cli(*words, "-s", 2, "--background-model", model).code == 0
    made = read_image(tmp_path / "out" / "a.png")
    np.testing.assert_array_equal(made[:, :140], repeated(noise(), 2)[:, :140])
    ended = sparnet_cli(*words, "--background-model", model)
    assert ended.code == 2
    assert "needs -s 2 or more" in ended.err
    ended = sparnet_cli(*words, "-s", 2, "--background-model", tmp_path / "gone.onnx")
    assert (ended.code, len(ended.errors)) == (1, 1)


def test_the_model_writer_writes_models_that_onnx_accepts(tmp_path):
    """Otherwise the refusals above might be for another reason."""
    for kind in ("float", "uint8"):
        onnx.checker.check_model(str(write_model(tmp_path / "m.onnx", kind=kind)))
