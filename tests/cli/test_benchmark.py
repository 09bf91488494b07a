"""`sparnet benchmark`: every way a model can be run here, and the one that is used unasked."""

import json
from typing import Any

from sparnet import benchmark
from sparnet.engine import open_engine
from sparnet.weights import catalog


def test_every_engine_is_timed_and_the_default_is_marked(sparnet_cli, small_model):
    ended = sparnet_cli("benchmark", small_model, "--rounds", 1, "--batch", 2, "--threads", 1, "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["processor"]
    rows = report["timings"]
    ways = {(row["engine"], row["precision"]) for row in rows}
    assert {("openvino", "fp32"), ("onnxruntime", "fp32"), ("torch", "fp32")} <= ways
    assert [(r["engine"], r["precision"]) for r in rows if r["is_default"]] == [("openvino", "fp32")]
    for row in rows:
        assert row["problem"] is None
        assert min(row["milliseconds_one"], row["milliseconds_many"], row["start_seconds"]) > 0


def test_the_table_is_for_people(sparnet_cli, small_model, monkeypatch):
    monkeypatch.setattr(benchmark, "ENGINES", ("openvino",))
    ended = sparnet_cli("benchmark", small_model, "--rounds", 1, "--batch", 2, "--threads", 1)
    assert ended.code == 0
    assert "ms a face, 2 at once" in ended.out
    assert "fp32 *" in ended.out
    assert "used unless another is asked for" in ended.out


def test_a_missing_model_is_told_in_a_line(sparnet_cli, tmp_path):
    ended = sparnet_cli("benchmark", tmp_path / "no.onnx")
    assert ended.code == 1
    assert ended.errors == [f"sparnet: {tmp_path}/no.onnx: no such model file"]


def test_times_are_medians_of_rounds_in_turn(small_model, monkeypatch):
    calls = []

    class Counting:
        def __init__(self, name: str) -> None:
            self.name = name
            self.info = open_engine(small_model).info

        def run(self, faces):
            calls.append((self.name, len(faces)))
            return faces

    engines: list[tuple[dict, Any]] = [({}, Counting("a")), ({}, Counting("b"))]
    medians = benchmark._medians(engines, 3, 2)
    assert calls == [("a", 3), ("b", 3)] * 3
    assert all(0 <= median < 1 for median in medians)


def test_no_models_at_all_is_told(sparnet_cli, monkeypatch):
    monkeypatch.setattr(catalog, "known_models", dict)
    assert sparnet_cli("benchmark").errors == ["sparnet: no model is there; name a model file"]
