"""The hash at the end of a model file."""

import onnx
import pytest

from sparnet.errors import WeightsError
from sparnet.weights.info import METADATA_KEY
from sparnet.weights.seal import SEAL_KEY, check_seal, seal


def test_a_sealed_file_is_accepted(small_model):
    check_seal(small_model)


def test_the_seal_is_an_entry_of_the_metadata(small_model):
    model = onnx.load_model_from_string(small_model.read_bytes())
    onnx.checker.check_model(model)
    assert [entry.key for entry in model.metadata_props] == [METADATA_KEY, SEAL_KEY]
    assert len(model.metadata_props[1].value) == 64


def test_what_is_read_and_written_again_unchanged_is_still_sealed(small_model, tmp_path):
    onnx.save_model(onnx.load_model_from_string(small_model.read_bytes()), tmp_path / "again.onnx")
    check_seal(tmp_path / "again.onnx")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_flipped_bit_anywhere_is_found(small_model, tmp_path, share):
    content = bytearray(small_model.read_bytes())
    content[int(share * len(content))] ^= 1
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"m\.onnx: damaged, its SHA-256"):
        check_seal(path)


@pytest.mark.parametrize("kept", [0, 1, 50, 5000, -1])
def test_a_file_cut_short_is_found(small_model, tmp_path, kept):
    path = tmp_path / "m.onnx"
    path.write_bytes(small_model.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="not a model file of sparnet's, or one that is cut short"):
        check_seal(path)


def test_a_foreign_onnx_file_is_found(tmp_path):
    graph = onnx.helper.make_graph([], "foreign", [], [])
    path = tmp_path / "foreign.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(WeightsError, match="not a model file of sparnet's"):
        check_seal(path)


def test_bytes_of_any_kind_can_be_sealed(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(seal(b""))
    check_seal(path)
