"""Finding photos by files, folders and patterns."""

from pathlib import Path

import numpy as np

from sparnet.errors import ImageError
from sparnet.image import FoundPicture, find_pictures, read_image, write_image
from tests.image.pictures import assert_refused, ramp


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def found(*inputs: str | Path, recursive: bool = False) -> list[str]:
    pictures, errors = find_pictures(inputs, recursive=recursive)
    assert errors == []
    return [picture.path.as_posix() for picture in pictures]


def test_a_file_named_is_found_whatever_its_suffix(tmp_path):
    touch(tmp_path, "a.data")
    pictures, errors = find_pictures([tmp_path / "a.data"])
    assert (pictures, errors) == ([FoundPicture(path=tmp_path / "a.data", folder=Path())], [])


def test_a_folder_stands_for_its_pictures_in_the_order_people_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "p/b10.png", "p/b2.PNG", "p/a.jpeg", "p/notes.txt", "p/.hidden.png", "p/sub/c.png")
    assert found("p") == ["p/a.jpeg", "p/b2.PNG", "p/b10.png"]
    assert found("p", recursive=True) == ["p/a.jpeg", "p/b2.PNG", "p/b10.png", "p/sub/c.png"]


def test_pictures_below_a_folder_keep_their_place(tmp_path):
    touch(tmp_path, "a/1.png", "b/1.png", "b/c/1.png", "1.png")
    pictures, _ = find_pictures([tmp_path], recursive=True)
    assert [picture.folder.as_posix() for picture in pictures] == [".", "a", "b", "b/c"]


def test_patterns_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "p/1.jpg", "p/2.png", "p/x/3.jpg", "p/x/y/4.jpg", "p/x/notes.txt", "q/5.jpg")
    assert found("p/*.jpg") == ["p/1.jpg"]
    assert found("p/?.*") == ["p/1.jpg", "p/2.png"]
    assert found("p/[2-9].png") == ["p/2.png"]
    assert found("*/*.jpg") == ["p/1.jpg", "q/5.jpg"]
    assert found("p/**/*.jpg") == ["p/1.jpg", "p/x/3.jpg", "p/x/y/4.jpg"]
    assert found("p/**") == ["p/1.jpg", "p/2.png", "p/x/3.jpg", "p/x/y/4.jpg"]
    assert found("**/x/*") == ["p/x/3.jpg"]
    assert found(tmp_path / "p" / "*.jpg") == [(tmp_path / "p/1.jpg").as_posix()]
    pictures, _ = find_pictures(["p/**/*.jpg"])
    assert [picture.folder.as_posix() for picture in pictures] == [".", "x", "x/y"]


def test_a_file_of_that_very_name_wins_over_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "photo[1].png", "photo1.png")
    assert found("photo[1].png") == ["photo[1].png"]


def test_a_file_named_twice_is_found_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "p/1.png", "p/2.png")
    (tmp_path / "link").symlink_to("p")
    assert found("p/1.png", "p", "./p/1.png", "p/*.png", "link/2.png", tmp_path / "p") == [
        "p/1.png",
        "p/2.png",
    ]


def test_links_that_form_loops_are_followed_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "p/1.png", "p/q/2.png")
    for name in ("a", "b", "q/up"):
        (tmp_path / "p" / name).symlink_to(tmp_path / "p")
    (tmp_path / "p" / "self").symlink_to("self")
    assert found("p", recursive=True) == ["p/1.png", "p/q/2.png"]
    assert found("p/**/*.png") == ["p/1.png", "p/q/2.png"]


def test_pictures_of_one_name_do_not_meet_in_the_output(tmp_path):
    names = ["a/b/1.png", "a/c/1.png", "d/1.png", "e/a/b/1.png", "2.png"]
    touch(tmp_path, *names)
    pictures, errors = find_pictures([tmp_path / "e", *(tmp_path / name for name in names)], recursive=True)
    outputs = [picture.folder / picture.path.name for picture in pictures]
    assert errors == []
    assert len(set(outputs)) == len(outputs) == 5
    assert not any(output.is_absolute() or ".." in output.parts for output in outputs)
    assert Path("2.png") in outputs


def test_the_folder_of_results_is_not_looked_into_but_when_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "p/a.png", "p/out/a.png", "p/out/deep/b.png", "p/other/c.png")

    def found_without(aside: str, *inputs: str) -> list[str]:
        pictures, _ = find_pictures(inputs, recursive=True, aside=[Path(aside)])
        return [picture.path.as_posix() for picture in pictures]

    assert found_without("p/out", "p") == ["p/a.png", "p/other/c.png"]
    assert found_without("p/out", "p/**/*.png") == ["p/a.png", "p/other/c.png"]
    assert found_without("p/out", "p", "p/out/a.png") == ["p/a.png", "p/other/c.png", "p/out/a.png"]
    assert found_without("p/out", "p/out") == ["p/out/a.png", "p/out/deep/b.png"]
    assert found_without("p", "p") == ["p/a.png", "p/other/c.png", "p/out/a.png", "p/out/deep/b.png"]
    assert found_without(".", "p/other") == ["p/other/c.png"], "results may go to a folder above"
    assert found_without("elsewhere", "p/other") == ["p/other/c.png"]
    (tmp_path / "link").symlink_to("p/out", target_is_directory=True)
    assert found_without("link", "p") == ["p/a.png", "p/other/c.png"]


def test_what_gives_no_picture_is_told_and_the_rest_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "1.png", "empty/notes.txt")
    pictures, errors = find_pictures(
        ["gone.png", "1.png", "empty", "*.jpg", "", "gone/*.png", "a\nb", "a\0b"]
    )
    assert [picture.path.name for picture in pictures] == ["1.png"]
    assert [str(error) for error in errors] == [
        "gone.png: no such file",
        "empty: no pictures in this folder",
        "*.jpg: no pictures match this pattern",
        "'': no such file",
        "gone: cannot be read (No such file or directory)",
        r"a\nb: no such file",
        r"a\x00b: no such file",
    ]
    assert all(isinstance(error, ImageError) for error in errors)


def test_a_folder_below_that_cannot_be_read_is_told_once_and_the_rest_is_found(tmp_path, monkeypatch):
    touch(tmp_path, "1.png", "shut/2.png")
    listed = Path.iterdir

    def iterdir(path):
        if path.name == "shut":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    pictures, errors = find_pictures([tmp_path], recursive=True)
    assert [picture.path.name for picture in pictures] == ["1.png"]
    assert [str(error) for error in errors] == [f"{tmp_path / 'shut'}: cannot be read (Permission denied)"]


def test_what_is_found_can_be_read(tmp_path):
    write_image(tmp_path / "p" / "a.png", ramp())
    (tmp_path / "p" / "gone.png").symlink_to("nothing")
    pictures, errors = find_pictures([tmp_path / "p"])
    assert errors == []
    np.testing.assert_array_equal(read_image(pictures[0].path), ramp())
    assert_refused(pictures[1].path, "no such file")
