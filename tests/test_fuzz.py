"""Damaged and malicious files: a short version of benchmarks/fuzz.py, its seeds chosen by Hypothesis."""

import importlib.util
import random
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparnet.config import read_toml
from sparnet.errors import DataError, RecipeError, WeightsError
from sparnet.network.official import load_official

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks" / "fuzz.py")
assert SPEC is not None
assert SPEC.loader is not None
fuzz = importlib.util.module_from_spec(SPEC)
sys.modules["fuzz"] = fuzz
SPEC.loader.exec_module(fuzz)

_MADE: dict[str, object] = {}


def target(name):
    if name not in _MADE:
        _MADE[name] = fuzz.TARGETS[name](Path(tempfile.mkdtemp()))
    return _MADE[name]


@pytest.mark.parametrize("name", ["pictures", "recipes", "packs", "catalogs"])
@given(seed=st.integers(0, 2**63))
@settings(
    max_examples=60, deadline=10_000, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_a_damaged_file_is_read_or_refused_in_one_line(name, seed):
    reader = target(name)
    reader.place(reader.make(random.Random(seed)))  # noqa: S311 - no secret
    assert fuzz.try_one(reader) == ""


def test_malicious_pickles_are_refused_and_run_nothing(tmp_path):
    owned = tmp_path / "owned"
    files = fuzz.malicious_pickles(owned)
    assert len(files) == 15
    for number, content in enumerate(files):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"refused|not a \.pth file"):
            load_official(path)
        assert not owned.exists(), f"file {number} ran code"


def test_the_malicious_pickles_are_malicious(tmp_path):
    import pickle

    owned = tmp_path / "owned"
    pickle.loads(fuzz.malicious_pickles(owned)[0])  # noqa: S301 - to see that it would run
    assert owned.exists()


def test_a_class_name_of_a_million_letters_is_refused_at_once(tmp_path):
    path = tmp_path / "long.pth"
    path.write_bytes(b"\x80\x02cos\n" + b"x" * 1_000_000 + b"\n.")
    started = time.process_time()
    with pytest.raises(WeightsError, match="refused"):
        load_official(path)
    assert time.process_time() - started < 5  # torch alone takes hours to word its refusal


def test_a_recipe_that_extends_an_endless_file_is_refused(tmp_path):
    endless = Path("/dev/zero")
    if not endless.exists():
        pytest.skip("no /dev/zero here")
    with pytest.raises(RecipeError, match="which is no recipe"):
        read_toml(endless)


def test_brackets_within_brackets_are_refused(tmp_path):
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(RecipeError, match="brackets within brackets"):
        read_toml(path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b"file,shard\na.webp,one\n", "entry 1 names no file, or no shard by its number"),
        (b"file,shard\n,0\n", "entry 1 names no file"),
        (b"file,shard\n\xff,0\n", "not a text file in UTF-8"),
        (b"\n", "expected columns file, shard"),
    ],
)
def test_a_damaged_index_of_a_pack_is_refused(tmp_path, index, message):
    from sparnet.data.faces import read_faces

    (tmp_path / "index.csv").write_bytes(index)
    with pytest.raises(DataError, match=message):
        read_faces(tmp_path)


def test_the_watcher_names_an_input_that_ends_the_process(tmp_path):
    """The benchmark's own parent: a run of a few inputs comes back complete."""
    tried = list(fuzz.fuzz("recipes", range(5), 0, folder=tmp_path))
    assert [number for number, *_ in tried] == [0, 1, 2, 3, 4]
    assert [wrong for _, wrong, *_ in tried] == [""] * 5
