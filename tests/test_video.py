"""Videos: sound, times and rotation kept, faces followed, and runs that go on after they were killed."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from sparnet.cli.video import split_videos
from sparnet.errors import ImageError, SparnetError
from sparnet.faces.align import invert, template
from sparnet.faces.detect import Face
from sparnet.faces.track import FaceTracker, TrackingDetector
from sparnet.restoration import Restorer
from sparnet.video import restore_video
from sparnet.weights.info import ModelInfo

av = pytest.importorskip("av", reason="needs the extra [video]")

TICKS = Fraction(1, 12_800)
EXAMPLE = Path(__file__).parents[1] / "examples" / "faces" / "0.webp"


class StubEngine:
    """Makes faces lighter, or what a function says."""

    info = ModelInfo(
        name="stub", task="restore", image_size=64, input_size=64, network={}, parameters=1, license="none"
    )

    def __init__(self, make=lambda faces: np.minimum(faces, 205) + np.uint8(50)):
        self.make = make
        self.count = 0

    def run(self, faces):
        self.count += len(faces)
        return self.make(faces)


def face_at(x, y, square_px, *, score=1.0):
    scale = 512 / square_px
    transform = np.array([[scale, 0.0, 255.5 - scale * x], [0.0, scale, 255.5 - scale * y]])
    back = invert(transform)
    half = square_px / 4
    return Face((x - half, y - half, x + half, y + half), score, template(512) @ back[:, :2].T + back[:, 2])


class StubDetector:
    """Finds one face in the middle of pictures that are light somewhere."""

    def __init__(self):
        self.pictures: list[np.ndarray] = []

    def detect(self, image):
        self.pictures.append(image)
        height, width = image.shape[:2]
        return [face_at(width / 2, height / 2, 48)] if image.max() > 100 else []


def background(width, height, index):
    """A slow slope of colours with a light corner at the top left."""
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[..., 0] = np.linspace(40, 160, width).astype(np.uint8)
    picture[..., 1] = np.linspace(60, 140, height).astype(np.uint8)[:, None]
    picture[..., 2] = 80 + index
    picture[:16, :16] = 230
    return picture


def make_clip(
    path, *, frames=12, codec="libx264", size=(96, 64), vfr=False, rotation=0, sound=True, dark=False
):
    """Write a clip of 25 frames a second with a tone; return when each frame is shown, in ticks."""
    width, height = size
    shown = [index * 512 + (256 if vfr and index % 3 == 1 else 0) for index in range(frames)]
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.time_base = TICKS
        if rotation:
            video.set_display_rotation(rotation)
        audio = container.add_stream("aac", rate=44_100, layout="mono") if sound else None
        for index, time in enumerate(shown):
            picture = background(width, height, index) // (4 if dark else 1)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, TICKS
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            tone = np.sin(np.arange(frames * 1764) * 0.05).astype(np.float32)[None]
            for start in range(0, tone.shape[1], 1024):
                piece = av.AudioFrame.from_ndarray(
                    tone[:, start : start + 1024], format="fltp", layout="mono"
                )
                piece.sample_rate, piece.pts, piece.time_base = 44_100, start, Fraction(1, 44_100)
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return shown


def read_clip(path):
    """Return pictures, times in seconds, the bytes of each sound packet, and what a stream says of itself."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        facts = {"codec": video.codec_context.name, "rate": video.average_rate}
        frames = list(container.decode(video))
        facts["rotation"] = frames[0].rotation
        pictures = [frame.to_ndarray(format="rgb24") for frame in frames]
        times = [frame.pts * frame.time_base for frame in frames]
    with av.open(str(path)) as container:
        sound = [bytes(packet) for packet in container.demux(audio=0)] if container.streams.audio else []
    return pictures, times, sound, facts


def restorer(engine=None, **options):
    options = {"color_match": 0, "small_faces": "off", **options}
    return Restorer(engine or StubEngine(), detector=StubDetector(), **options)


def test_faces_are_restored_and_sound_times_and_codec_kept(tmp_path):
    make_clip(tmp_path / "a.mp4")
    seen = []
    made = restore_video(
        tmp_path / "a.mp4", tmp_path / "out.mp4", restorer(), on_frame=lambda *done: seen.append(done)
    )
    assert (made.frames, made.faces, made.tracks, made.resumed_at) == (12, 12, 1, 0)
    assert (made.width, made.height, made.notes) == (96, 64, ())
    assert seen == [(index + 1, 12) for index in range(12)]
    before, after = read_clip(tmp_path / "a.mp4"), read_clip(tmp_path / "out.mp4")
    assert after[1] == before[1]
    assert after[2] == before[2]
    assert len(after[2]) > 10
    assert after[3] == before[3]
    for old, new in zip(before[0], after[0], strict=True):
        difference = new.astype(int) - old
        assert 35 < difference[28:38, 43:53].mean() < 55, "50 levels lighter"
        assert np.abs(difference[:, :20]).mean() < 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]


def test_times_of_a_variable_frame_rate_are_kept(tmp_path):
    make_clip(tmp_path / "a.mkv", vfr=True)
    restore_video(tmp_path / "a.mkv", tmp_path / "out.mkv", restorer(), segment_seconds=0.2)
    before, after = read_clip(tmp_path / "a.mkv"), read_clip(tmp_path / "out.mkv")
    assert after[1] == before[1]
    assert len({later - earlier for earlier, later in zip(after[1], after[1][1:], strict=False)}) > 1


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_a_turned_video_stays_turned_and_its_faces_are_found_upright(tmp_path, rotation):
    make_clip(tmp_path / "a.mp4", rotation=rotation)
    detector = StubDetector()
    restore_video(
        tmp_path / "a.mp4",
        tmp_path / "out.mp4",
        Restorer(StubEngine(), detector=detector, color_match=0, small_faces="off"),
    )
    before, after = read_clip(tmp_path / "a.mp4"), read_clip(tmp_path / "out.mp4")
    assert abs(before[3]["rotation"]) == abs(rotation)
    assert after[3]["rotation"] == before[3]["rotation"]
    assert after[0][0].shape == before[0][0].shape
    upright = np.rot90(before[0][0], before[3]["rotation"] // 90)
    assert np.abs(detector.pictures[0].astype(int) - upright).mean() < 3
    assert (after[0][3].astype(int) - before[0][3])[28:38, 43:53].mean() > 35
    assert np.abs(after[0][3].astype(int) - before[0][3])[:16, :16].mean() < 4


@pytest.mark.parametrize(
    ("codec", "suffix", "name"),
    [
        ("libx264", ".mov", "h264"),
        ("libvpx-vp9", ".webm", "vp9"),
        ("mpeg4", ".avi", "mpeg4"),
        ("mjpeg", ".mkv", "mjpeg"),
    ],
)
def test_the_codecs_family_is_kept(tmp_path, codec, suffix, name):
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.width, video.height = 96, 64
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(6):
            container.mux(video.encode(av.VideoFrame.from_ndarray(background(96, 64, index), format="rgb24")))
        container.mux(video.encode(None))
    made = restore_video(path, tmp_path / f"out{suffix}", restorer())
    assert (made.frames, made.notes) == (6, ())
    before, after = read_clip(path), read_clip(tmp_path / f"out{suffix}")
    assert after[3]["codec"] == name
    assert after[1] == before[1]
    assert np.abs(after[0][2].astype(int) - before[0][2])[:, :20].mean() < 6


def write_plain(
    path, codec, pixels="yuv420p", *, times=range(6), rate=25, mode="w", size=(96, 64), b_frames=0
):
    with av.open(str(path), mode) as container:
        video = container.add_stream(codec, rate=rate)
        (video.width, video.height), video.pix_fmt = size, pixels
        video.codec_context.max_b_frames = b_frames
        for index, time in enumerate(times):
            picture = background(size[0], size[1], index)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = time, Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix", "family"),
    [
        ("rawvideo", "bgr24", ".avi", "rawvideo"),
        ("rawvideo", "uyvy422", ".mov", "rawvideo"),
        ("utvideo", "yuv420p", ".avi", "utvideo"),
        ("prores_ks", "yuv422p10le", ".mov", "prores"),
        ("qtrle", "rgb24", ".mov", "qtrle"),
        ("mpeg2video", "yuv420p", ".ts", "mpeg2video"),
    ],
)
def test_a_codec_that_is_not_written_becomes_h264_and_is_said(tmp_path, codec, pixels, suffix, family):
    write_plain(tmp_path / f"a{suffix}", codec, pixels)
    made = restore_video(tmp_path / f"a{suffix}", tmp_path / f"out{suffix}", restorer())
    assert f"{family} is not written to {suffix}; it became H.264" in made.notes
    pictures, times, _, facts = read_clip(tmp_path / f"out{suffix}")
    assert (len(pictures), facts["codec"], facts["rate"]) == (6, "h264", 25)
    assert [time - times[0] for time in times] == [Fraction(index, 25) for index in range(6)]
    assert len(list(tmp_path.iterdir())) == 2


def test_av1_stays_av1(tmp_path):
    write_plain(tmp_path / "a.mp4", "libsvtav1", size=(128, 96))
    made = restore_video(tmp_path / "a.mp4", tmp_path / "out.mp4", restorer())
    assert made.notes == ()
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == "av1"
        assert len(list(container.decode(video=0))) == 6


def test_a_format_that_cannot_hold_the_film_is_refused_before_any_work(tmp_path):
    make_clip(tmp_path / "a.mkv", frames=3)
    engine = StubEngine()
    with pytest.raises(ImageError, match=r"out\.webm: \.webm can hold neither h264 nor H\.264"):
        restore_video(tmp_path / "a.mkv", tmp_path / "out.webm", restorer(engine))
    assert engine.count == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_a_result_that_cannot_be_read_back_is_an_error_and_the_work_is_kept(tmp_path, monkeypatch):
    from sparnet import video

    make_clip(tmp_path / "a.mp4", frames=3)
    check = video._check
    monkeypatch.setattr(
        video, "_check", lambda file, count, target: check(file, max(1, count * 2 - 2), target)
    )
    with pytest.raises(ImageError, match=r"cannot be read back \(3 of 4 frames there\)"):
        restore_video(tmp_path / "a.mp4", tmp_path / "out.mp4", restorer())
    assert not (tmp_path / "out.mp4").exists()
    monkeypatch.undo()
    assert restore_video(tmp_path / "a.mp4", tmp_path / "out.mp4", restorer()).resumed_at == 3


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_the_frame_rate_is_told_as_it_was(tmp_path, suffix):
    import cv2

    write_plain(tmp_path / f"a{suffix}", "mpeg4")
    restore_video(tmp_path / f"a{suffix}", tmp_path / f"out{suffix}", restorer())
    assert read_clip(tmp_path / f"out{suffix}")[3]["rate"] == 25
    assert cv2.VideoCapture(str(tmp_path / f"out{suffix}")).get(cv2.CAP_PROP_FPS) == 25


def test_films_put_one_behind_the_other_go_on(tmp_path):
    write_plain(tmp_path / "1.ts", "libx264", times=range(40))
    write_plain(tmp_path / "2.ts", "libx264", times=range(5), size=(64, 48))
    (tmp_path / "a.ts").write_bytes((tmp_path / "1.ts").read_bytes() + (tmp_path / "2.ts").read_bytes())
    made = restore_video(tmp_path / "a.ts", tmp_path / "out.ts", restorer())
    pictures, times, _, _ = read_clip(tmp_path / "out.ts")
    assert made.frames == len(pictures) == 45
    assert [time - times[0] for time in times] == [Fraction(index, 25) for index in range(45)]
    assert "frames of another size became 96 x 64 px" in made.notes
    assert any("went back; they follow the ones before" in note for note in made.notes)


def test_frames_of_an_avi_that_refer_to_later_ones_keep_their_order_and_distance(tmp_path):
    write_plain(tmp_path / "a.avi", "libx264", times=range(12), b_frames=2)
    made = restore_video(tmp_path / "a.avi", tmp_path / "out.avi", restorer())
    times = read_clip(tmp_path / "out.avi")[1]
    assert [time - times[0] for time in times] == [Fraction(index, 25) for index in range(12)]
    assert made.notes == ()


def test_another_detector_begins_anew(tmp_path):
    make_clip(tmp_path / "a.mp4", frames=10)

    class Other(StubDetector):
        pass

    def stop(done, total):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_video(tmp_path / "a.mp4", tmp_path / "o.mp4", restorer(), segment_seconds=0.2, on_frame=stop)
    other = Restorer(StubEngine(), detector=Other(), color_match=0, small_faces="off")
    assert restore_video(tmp_path / "a.mp4", tmp_path / "o.mp4", other, segment_seconds=0.2).resumed_at == 0


@pytest.mark.parametrize("seconds", [0, float("inf"), float("nan")])
def test_a_length_of_segments_that_is_none_is_refused(tmp_path, seconds):
    with pytest.raises(ValueError, match="segment_seconds must be positive and finite"):
        restore_video(tmp_path / "a.mp4", tmp_path / "out.mp4", restorer(), segment_seconds=seconds)


def test_numbers_of_numpy_become_plain_ones():
    """The checker refuses NumPy's whole numbers, for which JSON has no word, in the tests alone."""
    assert type(restorer(fidelity=np.float64(0.5)).fidelity) is float


def test_a_name_of_many_bytes_is_fine(tmp_path):
    make_clip(tmp_path / "a.mp4", frames=2, sound=False)
    target = tmp_path / ("\u304b" * 83 + ".mp4")
    assert restore_video(tmp_path / "a.mp4", target, restorer()).frames == 2
    assert target.is_file()


def test_chapters_are_kept(tmp_path):
    chapters = [
        {"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}},
        {"id": 2, "start": 100, "end": 240, "time_base": Fraction(1, 1000), "metadata": {"title": "two"}},
    ]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        container.set_chapters(chapters)
        for index in range(6):
            container.mux(video.encode(av.VideoFrame.from_ndarray(background(96, 64, index), format="rgb24")))
        container.mux(video.encode(None))
    assert restore_video(tmp_path / "a.mkv", tmp_path / "out.mkv", restorer()).notes == ()
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [entry["metadata"]["title"] for entry in container.chapters()] == ["one", "two"]
    assert restore_video(tmp_path / "a.mkv", tmp_path / "out.ts", restorer()).notes == (
        "2 chapters left out",
    )


def test_a_video_without_a_face_comes_back(tmp_path):
    make_clip(tmp_path / "a.mp4", dark=True)
    made = restore_video(tmp_path / "a.mp4", tmp_path / "out.mp4", restorer())
    assert (made.frames, made.faces) == (12, 0)
    before, after = read_clip(tmp_path / "a.mp4"), read_clip(tmp_path / "out.mp4")
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(before[0], after[0], strict=True)) < 2


def test_frames_with_and_without_a_face_have_the_same_colours(tmp_path):
    """A network that changes nothing shows what the way to RGB and back does."""
    make_clip(tmp_path / "a.mp4")
    restore_video(tmp_path / "a.mp4", tmp_path / "out.mp4", restorer(StubEngine(lambda faces: faces)))
    before, after = read_clip(tmp_path / "a.mp4"), read_clip(tmp_path / "out.mp4")
    for old, new in zip(before[0], after[0], strict=True):
        assert np.abs((new.astype(int) - old).mean(axis=(0, 1))).max() < 1
        assert np.abs(new.astype(int) - old).mean() < 2


def test_the_whole_video_is_enlarged(tmp_path):
    make_clip(tmp_path / "a.mp4", frames=4)
    made = restore_video(tmp_path / "a.mp4", tmp_path / "out.mp4", restorer(upscale_factor=2))
    assert (made.width, made.height) == (192, 128)
    assert read_clip(tmp_path / "out.mp4")[0][0].shape == (128, 192, 3)


def test_a_stopped_run_goes_on_and_ends_where_an_unbroken_one_does(tmp_path):
    # x264's rate control (mbtree) repeats itself to the bit only at some widths, among them multiples of 128.
    make_clip(tmp_path / "a.mp4", frames=25, size=(128, 64))
    whole = restorer()
    restore_video(tmp_path / "a.mp4", tmp_path / "whole.mp4", whole, segment_seconds=0.2)

    def stop(done, total):
        if done == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_video(
            tmp_path / "a.mp4", tmp_path / "out.mp4", restorer(), segment_seconds=0.2, on_frame=stop
        )
    assert not (tmp_path / "out.mp4").exists()
    engine = StubEngine()
    seen = []
    made = restore_video(
        tmp_path / "a.mp4", tmp_path / "out.mp4", restorer(engine), segment_seconds=0.2,
        on_frame=lambda done, total: seen.append(done),
    )  # fmt: skip
    assert made.resumed_at == 10
    assert (made.frames, made.faces, made.tracks) == (25, 25, 1)
    assert seen == [10, *range(11, 26)]
    assert engine.count == 15
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_other_options_begin_anew(tmp_path):
    make_clip(tmp_path / "a.mp4", frames=10)

    def stop(done, total):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_video(tmp_path / "a.mp4", tmp_path / "o.mp4", restorer(), segment_seconds=0.2, on_frame=stop)
    made = restore_video(tmp_path / "a.mp4", tmp_path / "o.mp4", restorer(fidelity=0.5), segment_seconds=0.2)
    assert (made.frames, made.resumed_at) == (10, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file"), (b"", "not a video"), (b"no video at all" * 99, "not a video that can be read")],
)
def test_what_is_no_video_is_refused(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(ImageError, match=reason) as refused:
        restore_video(tmp_path / "a.mp4", tmp_path / "out.mp4", restorer())
    assert str(refused.value).startswith(f"{tmp_path / 'a.mp4'}: ")
    assert not (tmp_path / "out.mp4").exists()


def test_a_video_cut_short_is_restored_as_far_as_it_goes(tmp_path):
    make_clip(tmp_path / "a.mkv", frames=40)
    whole = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    made = restore_video(tmp_path / "cut.mkv", tmp_path / "out.mkv", restorer())
    assert 0 < made.frames < 40
    assert len(read_clip(tmp_path / "out.mkv")[0]) == made.frames


def test_a_video_never_overwrites_itself(tmp_path):
    make_clip(tmp_path / "a.mp4", frames=3)
    before = (tmp_path / "a.mp4").read_bytes()
    with pytest.raises(ImageError, match="would be overwritten"):
        restore_video(tmp_path / "a.mp4", tmp_path / "a.mp4", restorer())
    assert (tmp_path / "a.mp4").read_bytes() == before


def test_a_format_that_cannot_be_written_is_refused(tmp_path):
    make_clip(tmp_path / "a.mp4", frames=3)
    with pytest.raises(ImageError, match=r"cannot write the format '\.xyz'; supported: \.mp4"):
        restore_video(tmp_path / "a.mp4", tmp_path / "a.xyz", restorer())


def test_without_pyav_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SparnetError, match=r"video needs the package av: pip install 'sparnet\[video\]'"):
        restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", restorer())


# Following faces


def shaken(face, rng, px):
    shift = rng.normal(0, px, 2)
    left, top, right, bottom = face.box
    box = (left + shift[0], top + shift[1], right + shift[0], bottom + shift[1])
    return Face(box, face.score, face.points + shift + rng.normal(0, px, (5, 2)))


def test_points_of_a_face_at_rest_stop_trembling():
    rng, tracker, face = np.random.default_rng(0), FaceTracker(), face_at(100, 100, 120)
    given, followed = [], []
    for index in range(200):
        given.append(shaken(face, rng, 0.8))
        followed.append(tracker.update([given[-1]], index / 25)[0])
    before, after = (
        np.abs(np.diff([f.points for f in faces[20:]], axis=0)).mean() for faces in (given, followed)
    )
    assert after < before / 3
    assert np.abs(np.mean([f.points for f in followed], axis=0) - face.points).max() < 0.5


def test_a_face_that_moves_is_not_left_behind():
    tracker = FaceTracker()
    lag = []
    for index in range(60):
        face = face_at(100 + 4.0 * index, 100, 120)  # 60 px wide: 1.7 times its size a second
        lag.append(np.abs(tracker.update([face], index / 25)[0].points - face.points).max())
    assert max(lag[10:]) < 0.06 * 60 * 2


def test_a_face_that_drops_out_for_a_moment_is_kept():
    tracker, face = FaceTracker(), face_at(100, 100, 120)
    counts = [len(tracker.update([] if index in (5, 6, 7) else [face], index / 25)) for index in range(12)]
    assert counts == [1] * 12
    assert tracker.count == 1
    assert [len(tracker.update([], 1 + index / 25)) for index in range(12)][-1] == 0


def test_faces_keep_apart_and_the_largest_comes_first():
    tracker = FaceTracker()
    small, large = face_at(40, 40, 40), face_at(120, 60, 80)
    for index in range(5):
        made = tracker.update([small, large] if index % 2 else [large, small], index / 25)
        assert [round(face.size_px) for face in made] == [40, 20]
    assert tracker.count == 2


def test_a_cut_forgets_the_faces_of_the_scene_before():
    class Finds:
        faces = [face_at(30, 30, 40)]

        def detect(self, image):
            return self.faces

    finds = Finds()
    detector = TrackingDetector(finds)
    light, dark = np.full((60, 60, 3), 200, np.uint8), np.full((60, 60, 3), 20, np.uint8)
    assert len(detector.detect(light)) == 1
    finds.faces = []
    detector.seconds = 0.04
    assert len(detector.detect(light)) == 1, "a moment without it"
    assert detector.detect(dark) == []


def test_a_tracker_goes_on_from_its_state():
    import json

    rng, face = np.random.default_rng(3), face_at(100, 100, 120)
    one, other = FaceTracker(), FaceTracker()
    faces = [shaken(face, rng, 1.0) for _ in range(20)]
    for index in range(10):
        one.update([faces[index]], index / 25)
    other.take_up(json.loads(json.dumps(one.state())))
    for index in range(10, 20):
        (a,), (b,) = (tracker.update([faces[index]], index / 25) for tracker in (one, other))
        np.testing.assert_array_equal(a.points, b.points)
        assert a.box == b.box


def test_a_real_face_is_found_and_restored_in_every_frame(tmp_path):
    portrait = PIL.Image.open(EXAMPLE).convert("RGB").resize((110, 110))
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 240, 160, "yuv420p"
        for index in range(8):
            picture = PIL.Image.new("RGB", (240, 160), (90, 110, 130))
            picture.paste(portrait, (40 + 4 * index, 25))
            container.mux(video.encode(av.VideoFrame.from_image(picture)))
        container.mux(video.encode(None))
    made = restore_video(tmp_path / "a.mp4", tmp_path / "out.mp4", Restorer(StubEngine(), threads=1))
    assert (made.frames, made.faces, made.tracks) == (8, 8, 1)


# The program


@pytest.fixture
def restore(sparnet_cli, monkeypatch):
    from sparnet import restoration

    monkeypatch.setattr(restoration, "open_engine", lambda *_, **__: StubEngine())
    monkeypatch.setattr(restoration, "open_detector", lambda *_, **__: StubDetector())
    return lambda *words: sparnet_cli("restore", *words, "-m", "stub.onnx", "--small-faces", "off")


def test_the_program_takes_videos_and_photos_together(tmp_path, restore):
    import json

    from sparnet.image import write_image

    make_clip(tmp_path / "clip.mp4", frames=3)
    write_image(tmp_path / "a.png", background(96, 64, 0))
    (tmp_path / "bad.mov").write_text("no video")
    words = (tmp_path / "clip.mp4", tmp_path / "a.png", tmp_path / "bad.mov", "-o", tmp_path / "out")
    ended = restore(*words, "--suffix", "_new", "--json")
    report = json.loads(ended.out)
    assert (ended.code, len(report["failed"]), len(report["done"])) == (1, 1, 1)
    assert report["failed"][0].startswith(f"{tmp_path / 'bad.mov'}: not a video that can be read")
    (entry,) = report["videos"]
    assert (entry["frames"], entry["faces"], entry["tracks"], entry["notes"]) == (3, 3, 1, [])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_new.png", "clip_new.mp4"]


def test_the_program_says_what_became_of_a_video(tmp_path, restore):
    make_clip(tmp_path / "clip.mp4", frames=3)
    ended = restore(tmp_path / "clip.mp4", "-o", tmp_path / "out")
    target = tmp_path / "out" / "clip.mp4"
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{tmp_path / 'clip.mp4'} -> {target}: 3 frames, 3 faces of 1 followed restored\n"
    changed = target.stat().st_mtime_ns
    again = restore(tmp_path / "clip.mp4", "-o", tmp_path / "out", "--skip-existing")
    assert (again.code, again.out) == (0, "1 there already, left alone\n")
    assert target.stat().st_mtime_ns == changed
    over = restore(tmp_path / "clip.mp4", "-o", tmp_path)
    assert (over.code, len(over.errors)) == (1, 1)
    assert "would be overwritten; name another folder" in over.err


@pytest.mark.parametrize(("name", "suffix"), [("x.mp4", ""), ("x_r.mp4", "_r")])
def test_a_video_is_not_overwritten_by_the_result_of_another(tmp_path, restore, name, suffix):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    make_clip(tmp_path / "a" / "x.mp4", frames=2, sound=False)
    other = tmp_path / "b" / name
    make_clip(other, frames=3, sound=False)
    before = other.read_bytes()
    ended = restore(tmp_path / "a" / "x.mp4", other, "-o", tmp_path / "b", "--suffix", suffix)
    assert ended.code == 1
    assert f"{tmp_path / 'a' / 'x.mp4'}: {other} would be overwritten; name another folder by -o" in ended.err
    assert other.read_bytes() == before


@pytest.mark.parametrize("option", [["--aligned"], ["--faces", "1"], ["--draw-boxes"], ["--save-faces"]])
def test_options_of_photos_are_refused_for_videos(tmp_path, restore, option):
    make_clip(tmp_path / "clip.mp4", frames=2, sound=False)
    ended = restore(tmp_path / "clip.mp4", "-o", tmp_path / "out", *option)
    assert ended.code == 2
    assert "does not go with a video" in ended.err


def test_patterns_name_videos_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("v2.mp4", "v1.mp4", "a/v3.mp4", "v[1].mov", "v.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    videos, others = split_videos([Path("v*.mp4"), Path("v.jpg"), Path("v[1].mov"), Path("**/v3.mp4")])
    assert [path.as_posix() for path in videos] == ["v1.mp4", "v2.mp4", "v[1].mov", "a/v3.mp4"]
    assert others == [Path("v.jpg")]
    for missing in ("w*.mp4", "w.mp4", "**w.mp4"):
        assert split_videos([Path(missing)]) == ([Path(missing)], []), "told of as one that is not there"


def test_the_suffixes_that_the_program_knows_are_those_that_are_written():
    from sparnet.cli import video as of_cli
    from sparnet.video import VIDEO_SUFFIXES

    assert set(VIDEO_SUFFIXES) == of_cli.VIDEO_SUFFIXES
