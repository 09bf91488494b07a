"""What a cluster restores: the listing of a folder, which needs no cluster."""

import pytest

from sparnet import fleet


def test_results_inside_the_folder_of_photos_are_no_photos(tmp_path):
    """An earlier call's, below the folder or below one of another name that begins alike."""
    pytest.importorskip("pyarrow")
    for name in ("a.jpg", "b/c.png", "out/a.jpg", "outside/d.jpg", "_parts/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    _, folder = fleet.open_place(tmp_path / "out")
    jobs, failures = fleet._list_jobs(tmp_path, folder, recursive=True)
    assert failures == []
    expected = {name: f"{folder}/{name}" for name in ("a.jpg", "b/c.png", "outside/d.jpg")}
    assert {name.removeprefix(f"{tmp_path}/"): target for name, target in jobs.items()} == expected
