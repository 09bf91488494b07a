"""Compiled models on the disk: used again, bounded, and never trusted when damaged."""

import os

import numpy as np
import pytest

from sparnet.engine import openvino as module
from sparnet.engine.cache import CACHE_VARIABLE, CompiledCache, cache_key, open_cache
from sparnet.engine.openvino import OpenvinoEngine

FACE = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)


@pytest.fixture
def unread(monkeypatch):
    """Make reading a model file fail: whoever needs it did not use the cache."""

    def refuse(path):
        raise AssertionError(f"{path} was read")

    return lambda: monkeypatch.setattr(module, "_read", refuse)


def test_a_second_engine_starts_from_the_first_one_s_work(user_cache, small_model, unread):
    first = OpenvinoEngine(small_model, threads=1).run(FACE)
    (kept,) = (user_cache / "compiled").iterdir()
    assert kept.suffix == ".compiled"
    unread()
    second = OpenvinoEngine(small_model, threads=1)
    assert second.info.name == "small"
    np.testing.assert_array_equal(second.run(FACE), first)
    many = second.run(np.concatenate([FACE, FACE]))
    assert np.abs(many[1].astype(int) - first[0]).max() <= 1


def test_a_thread_may_take_what_was_kept_while_another_looks_for_it(user_cache, small_model):
    wanted = OpenvinoEngine(small_model, threads=1).run(FACE)

    class Shared(OpenvinoEngine):
        """Whoever looks at what was kept is the last to see it."""

        @property
        def _kept(self):
            return self.__dict__.pop("kept", None)

        @_kept.setter
        def _kept(self, value):
            self.__dict__["kept"] = value

    np.testing.assert_array_equal(Shared(small_model, threads=1).run(FACE), wanted)


def test_another_model_threads_or_arithmetic_is_another_file(user_cache, small_model, make_variant, tmp_path):
    OpenvinoEngine(small_model, threads=1).run(FACE)
    OpenvinoEngine(small_model, threads=2).run(FACE)
    OpenvinoEngine(small_model, threads=1, precision="fp32").run(FACE)
    OpenvinoEngine(make_variant(tmp_path / "other.onnx", name="other"), threads=1).run(FACE)
    assert len(list((user_cache / "compiled").iterdir())) == 4


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_made_anew(user_cache, small_model, damage):
    wanted = OpenvinoEngine(small_model, threads=1).run(FACE)
    (kept,) = (user_cache / "compiled").iterdir()
    sound = kept.read_bytes()
    broken = bytearray(sound)
    broken[len(broken) // 2] ^= 1
    kept.write_bytes({"flip": bytes(broken), "cut": sound[:-9], "empty": b""}[damage])
    np.testing.assert_array_equal(OpenvinoEngine(small_model, threads=1).run(FACE), wanted)
    assert CompiledCache(kept.parent).read(kept.stem) is not None


def test_a_sound_file_that_openvino_refuses_is_made_anew(user_cache, small_model):
    wanted = OpenvinoEngine(small_model, threads=1).run(FACE)
    (kept,) = (user_cache / "compiled").iterdir()
    cache = CompiledCache(kept.parent)
    info, compiled = cache.read(kept.stem) or ("", b"")
    cache.write(kept.stem, info, b"not what it was")
    np.testing.assert_array_equal(OpenvinoEngine(small_model, threads=1).run(FACE), wanted)
    assert len((cache.read(kept.stem) or ("", b""))[1]) == len(compiled)


def test_the_variable_turns_it_off(user_cache, small_model, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    assert open_cache() is None
    OpenvinoEngine(small_model, threads=1).run(FACE)
    assert not user_cache.exists()


def test_a_folder_that_cannot_be_written_is_no_failure(user_cache, small_model):
    user_cache.mkdir(parents=True)
    (user_cache / "compiled").write_text("in the way")
    assert OpenvinoEngine(small_model, threads=1).run(FACE).shape == (1, 128, 128, 3)


def test_the_oldest_files_go_first_and_large_ones_are_not_kept(tmp_path):
    cache = CompiledCache(tmp_path, max_bytes=1400)
    for age, name in enumerate("abc"):
        cache.write(name, "{}", bytes(400))
        os.utime(tmp_path / f"{name}.compiled", ns=(age * 10**9, age * 10**9))
    assert cache.read("a") is not None, "reading it makes it the newest"
    cache.write("d", "{}", bytes(400))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c", "d"]
    cache.write("e", "{}", bytes(800))
    assert cache.read("e") is None


def test_keys_differ_by_every_fact():
    assert len({cache_key("a", 1), cache_key("a", 2), cache_key("b", 1), cache_key("a", None)}) == 4
