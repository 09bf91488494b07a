"""What is said when something fails, and what is not."""

import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest

from sparnet.image import read_image, show_path, write_image
from tests.image.pictures import LOSSLESS, assert_refused, ramp, tiff


def test_pillows_warnings_about_metadata_are_not_heard(tmp_path):
    data = bytearray(tiff(ramp(), t270="a long description"))
    where = data.index(struct.pack("<HH", 270, 2))
    struct.pack_into("<II", data, where + 4, 10**9, 8)  # so long that it cannot be in the file
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.warns(UserWarning, match="larger than file"), PIL.Image.open(tmp_path / "a.tif"):
        pass
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), ramp())
    assert heard == []


def test_threads_read_at_once_and_leave_the_warning_filters_alone(tmp_path):
    for suffix in (*LOSSLESS, ".gif"):
        write_image(tmp_path / f"a{suffix}", ramp())
    before = list(warnings.filters)
    paths = [tmp_path / f"a{suffix}" for suffix in (*LOSSLESS, ".tif")] * 20
    with ThreadPoolExecutor(8) as pool:
        for picture in pool.map(read_image, paths):
            np.testing.assert_array_equal(picture, ramp())
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("a/b c.png", "a/b c.png"),
        ("ünï 😀👩\u200d🚀.png", "ünï 😀👩\u200d🚀.png"),
        ("a\nb\t\x1b[31m.png", r"a\nb\t\x1b[31m.png"),
        ("a\u2028b\u202egnp.exe", r"a\u2028b\u202egnp.exe"),
        ("a\udcff.png", r"a\udcff.png"),
    ],
)
def test_a_path_is_shown_in_one_printable_line(path, shown):
    assert show_path(path) == shown


def test_a_message_is_one_line_even_when_the_path_is_not(tmp_path):
    assert_refused(tmp_path / "a\nb.png", "no such file")
