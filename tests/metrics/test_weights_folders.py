import subprocess
import sys
from pathlib import Path

import pytest

from sparnet.errors import WeightsError
from sparnet.weights.auxiliary import find_auxiliary
from sparnet.weights.catalog import find_model
from sparnet.weights.folders import find_weights_file, locate_weights_file, user_cache_folder, weights_folders


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A named folder and a cache folder, both empty."""
    named, cache = tmp_path / "named", tmp_path / "cache"
    for folder in (named, cache):
        folder.mkdir()
    monkeypatch.setenv("SPARNET_WEIGHTS", str(named))
    monkeypatch.setattr("sparnet.weights.folders.user_cache_folder", lambda: cache)
    return named, cache


def test_the_named_folder_comes_before_the_cache(folders):
    named, cache = folders
    (cache / "a.onnx").touch()
    assert find_weights_file("a.onnx") == cache / "a.onnx"
    (named / "a.onnx").touch()
    assert find_weights_file("a.onnx") == named / "a.onnx"


def test_a_missing_file_is_told_in_one_line(folders):
    named, cache = folders
    assert locate_weights_file("a.onnx") is None
    with pytest.raises(WeightsError) as raised:
        find_weights_file("a.onnx")
    assert str(raised.value) == (
        f"a.onnx: not found in {named} and {cache}; "
        "put it there, or name the folder that has it in SPARNET_WEIGHTS"
    )


def test_without_the_variable_only_the_cache_is_searched(folders, monkeypatch):
    monkeypatch.delenv("SPARNET_WEIGHTS")
    assert weights_folders() == [folders[1]]


def test_a_named_folder_that_is_not_there_is_an_error(folders, monkeypatch):
    monkeypatch.setenv("SPARNET_WEIGHTS", "/no/such")
    with pytest.raises(WeightsError, match="SPARNET_WEIGHTS=/no/such: no such folder"):
        find_weights_file("a.onnx")


def test_a_named_folder_of_a_user_that_is_not_there_is_an_error(folders, monkeypatch):
    monkeypatch.setenv("SPARNET_WEIGHTS", "~nosuchuser/weights")
    with pytest.raises(WeightsError, match=r"^SPARNET_WEIGHTS=~nosuchuser/weights: no such user.*unset it$"):
        find_weights_file("a.onnx")


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG folders are Linux's")
def test_a_user_without_a_home_has_no_cache_folder_and_the_shipped_models(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for variable in ("XDG_CACHE_HOME", "SPARNET_WEIGHTS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert not user_cache_folder().exists()
    assert find_model("sparnet-x8").is_file()


@pytest.mark.parametrize("name", ["../a.onnx", "b/a.onnx", "", "."])
def test_a_path_is_no_name(folders, name):
    with pytest.raises(ValueError, match="without folders"):
        find_weights_file(name)


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG folders are Linux's")
def test_the_cache_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert user_cache_folder() == tmp_path / ".cache" / "sparnet"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert user_cache_folder() == tmp_path / ".cache" / "sparnet"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert user_cache_folder() == Path("/var/cache/me/sparnet")


def test_a_damaged_file_is_refused(folders):
    (folders[0] / "identity_mobilefacenet.onnx").write_bytes(b"cut off")
    with pytest.raises(WeightsError, match=r"begins with b7120c09, got .* replace it"):
        find_auxiliary("identity")


def test_an_unknown_auxiliary_file_is_refused():
    with pytest.raises(ValueError, match="no auxiliary file 'vgg11'; have: alexnet, vgg16"):
        find_auxiliary("vgg11")


def test_the_search_needs_no_torch():
    program = "import sys, sparnet.weights.auxiliary; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
