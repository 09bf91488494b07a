"""Follow faces from frame to frame, so that what is put into a video does not tremble.

A detector's points jump by a px or two from frame to frame, and a face drops out now and then. Faces of
neighbouring frames are the same where their boxes overlap; their points go through one filter a face.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from sparnet.faces.detect import Detector, Face

MIN_OVERLAP = 0.3
"""Intersection over union from which two boxes of neighbouring frames show one face."""
MAX_GAP_SECONDS = 0.2
"""How long a face that is no longer found is taken to be where it was."""
# Frequencies of the One Euro filter: what passes of a face at rest, how much more of one that moves by
# its own size in a second, and what its speed is filtered with.
_CUTOFF_HZ, _CUTOFF_HZ_A_SPEED, _SPEED_CUTOFF_HZ = 1.5, 6.0, 2.0
# Two frames, reduced to 32 x 18 px, that differ by more grey levels are of different scenes.
_CUT_LEVELS = 30.0


@dataclass(eq=False)
class _Track:
    number: int
    face: Face
    speed: Float[np.ndarray, "2"]
    """Sizes of the face a second, across and down."""
    seen_at: float
    moved_at: float


class FaceTracker:
    """Gives faces numbers that last, and points that move smoothly.

    Source: Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012; one speed for a face's points together,
    in sizes of the face, so that they keep their places to each other.
    """

    def __init__(self) -> None:
        self.count = 0
        """Faces followed so far."""
        self._tracks: list[_Track] = []

    def update(self, faces: Sequence[Face], seconds: float) -> list[Face]:
        """Take the faces of the next frame; return those to restore, the largest first.

        Args:
            faces: The faces that the detector found.
            seconds: When the frame is shown.
        """
        left = list(faces)
        pairs = sorted(
            ((_overlap(track.face.box, face.box), t, f) for t, track in enumerate(self._tracks)
             for f, face in enumerate(faces)),
            key=lambda pair: -pair[0],
        )  # fmt: skip
        met_tracks: set[int] = set()
        met_faces: set[int] = set()
        for overlap, t, f in pairs:
            if overlap >= MIN_OVERLAP and t not in met_tracks and f not in met_faces:
                met_tracks.add(t)
                met_faces.add(f)
                _follow(self._tracks[t], faces[f], seconds)
        left = [face for f, face in enumerate(faces) if f not in met_faces]
        self._tracks = [track for track in self._tracks if seconds - track.seen_at <= MAX_GAP_SECONDS]
        for face in left:
            self.count += 1
            self._tracks.append(_Track(self.count, face, np.zeros(2), seconds, seconds))
        return sorted((track.face for track in self._tracks), key=lambda face: -face.size_px)

    def forget(self) -> None:
        """Begin anew, as after a cut."""
        self._tracks = []

    def state(self) -> dict[str, Any]:
        """Return all that the next frame depends on, for JSON."""
        tracks = [
            {
                "number": track.number, "box": list(track.face.box), "score": track.face.score,
                "points": track.face.points.tolist(), "speed": track.speed.tolist(),
                "seen_at": track.seen_at, "moved_at": track.moved_at,
            }
            for track in self._tracks
        ]  # fmt: skip
        return {"count": self.count, "tracks": tracks}

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.count = state["count"]
        self._tracks = [
            _Track(
                entry["number"],
                Face(tuple(entry["box"]), entry["score"], np.array(entry["points"])),
                np.array(entry["speed"]),
                entry["seen_at"],
                entry["moved_at"],
            )
            for entry in state["tracks"]
        ]


class TrackingDetector:
    """A detector that follows faces; give it the frames of a video in order.

    Args:
        detector: What finds the faces of each frame.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.tracker = FaceTracker()
        self.seconds = 0.0
        """When the next frame is shown; to be set before each."""
        self._last: np.ndarray | None = None

    def detect(self, image: UInt8[np.ndarray, "h w 3"]) -> list[Face]:
        """Return the faces of the next frame, the largest first."""
        small = cv2.resize(image, (32, 18), interpolation=cv2.INTER_AREA).mean(axis=2)
        if self._last is not None and np.abs(small - self._last).mean() > _CUT_LEVELS:
            self.tracker.forget()
        self._last = small
        return self.tracker.update(self.detector.detect(image), self.seconds)

    def state(self) -> dict[str, Any]:
        """Return all that the next frame depends on, for JSON."""
        return {**self.tracker.state(), "last": None if self._last is None else self._last.tolist()}

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.tracker.take_up(state)
        self._last = None if state["last"] is None else np.array(state["last"])


def _follow(track: _Track, face: Face, seconds: float) -> None:
    """Move a track towards the face found: slowly at rest, without delay in motion."""
    elapsed = max(seconds - track.moved_at, 1e-3)
    size = max(face.size_px, 1.0)
    jump = (face.points - track.face.points).mean(axis=0) / (size * elapsed)
    track.speed = track.speed + _share(_SPEED_CUTOFF_HZ, elapsed) * (jump - track.speed)
    cutoff = _CUTOFF_HZ + _CUTOFF_HZ_A_SPEED * float(np.hypot(*track.speed))
    share = _share(cutoff, elapsed)
    points = track.face.points + share * (face.points - track.face.points)
    box = np.array(track.face.box) + share * (np.array(face.box) - track.face.box)
    left, top, right, bottom = box.tolist()
    track.face = Face((left, top, right, bottom), face.score, points)
    track.seen_at = track.moved_at = seconds


def _share(cutoff_hz: float, elapsed: float) -> float:
    """Return how much of a new value a low-pass filter takes."""
    turn = 2 * np.pi * cutoff_hz * elapsed
    return float(turn / (turn + 1))


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)
