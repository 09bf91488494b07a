import subprocess
import sys

import pytest

import sparnet.metrics
from sparnet.metrics import METRICS


def test_importing_metrics_imports_nothing_heavy():
    heavy = "{'torch', 'cv2', 'openvino', 'skimage', 'safetensors'}"
    program = (
        f"import sys, sparnet.metrics; from sparnet.metrics import psnr_y; print({heavy} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_every_public_name_is_there():
    for name in sparnet.metrics.__all__:
        assert getattr(sparnet.metrics, name) is not None
    assert dir(sparnet.metrics) == sorted(sparnet.metrics.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="psnr"):
        _ = sparnet.metrics.psnr


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.takes == "pair"])
def test_a_metric_of_pairs_prefers_the_original(name, auxiliary_weights, face, face_sr):
    metric = METRICS[name]
    measure = metric.load()
    original, degraded = metric.summarise([measure(face, face)]), metric.summarise([measure(face_sr, face)])
    assert (original > degraded) == (metric.direction == "higher")


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.takes == "face"])
def test_a_metric_of_faces_prefers_the_original(name, auxiliary_weights, face, face_sr, hr_face):
    metric = METRICS[name]
    measure = metric.load()
    original = metric.summarise([measure(face, face, hr_face)])
    degraded = metric.summarise([measure(face_sr, face, hr_face)])
    assert (original > degraded) == (metric.direction == "higher")


def test_what_a_metric_needs_is_a_file_or_a_package():
    needs = {need for metric in METRICS.values() for need in metric.needs}
    assert all(need.endswith((".safetensors", ".onnx")) or need.startswith("package ") for need in needs)
