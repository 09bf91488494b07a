"""Enlarge what is around the faces by a model for pictures of any kind, which the user names.

Such models are shared as ONNX files that take and give pictures of any size. They come in two kinds,
told apart by the graph itself: float N x 3 x H x W in 0..1, as most are exported, and uint8
N x H x W x 3, as ours are.
"""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import openvino
import PIL.Image
from jaxtyping import UInt8
from openvino.frontend import FrontEndManager

from sparnet.engine.openvino import OPENVINO_FAILURES
from sparnet.errors import ImageError, WeightsError
from sparnet.image import MAX_PIXELS, AnyImage, Image
from sparnet.weights.info import METADATA_KEY

TILE_PX = 256
"""Side of the pieces that a photo is cut into; memory grows with its square."""
OVERLAP_PX = 16
"""How far a piece looks beyond the part of it that is used, so that no edge shows."""
_EXPECTED = "expected one picture, float N x 3 x H x W in 0..1 or uint8 N x H x W x 3"


@runtime_checkable
class Background(Protocol):
    """Anything that enlarges a photo."""

    def enlarge(self, image: Image, factor: int) -> AnyImage:
        """Return the photo, `factor` times as wide and high."""
        ...


def check_enlarged_size(image: AnyImage, factor: int) -> None:
    """Refuse photos that would become larger than what is read again.

    Raises:
        ImageError: If the result would have more than `sparnet.image.MAX_PIXELS` pixels.
    """
    height, width = image.shape[:2]
    if height * width * factor**2 > MAX_PIXELS:
        size = f"{width * factor:,} x {height * factor:,}"
        raise ImageError(
            f"enlarged {factor} times it has {size} pixels, more than {MAX_PIXELS:,}; enlarge it less"
        )


class BackgroundModel:
    """An ONNX file that enlarges pictures, run on OpenVINO piece by piece.

    What the graph does not say is found by one trial: by how much the model enlarges, and whether
    what it makes of a plain picture is that picture.

    Args:
        path: The file.
        threads: Threads; None uses all cores.
        tile_px: Side of the pieces; a model whose graph has a size of its own is given that.

    Raises:
        WeightsError: If the file is missing, damaged, or its graph is no such model.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None, tile_px: int = TILE_PX) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise WeightsError(f"{path}: no such file (expected a model in ONNX that enlarges pictures)")
        if tile_px <= 2 * OVERLAP_PX:
            raise ValueError(f"tile_px must be more than {2 * OVERLAP_PX}, got {tile_px}")
        model = self._read()
        self._is_float, self._channels_first, self.tile_px = self._understand(model, tile_px)
        options: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        side = self.tile_px
        try:
            model.reshape([1, 3, side, side] if self._channels_first else [1, side, side, 3])
            self._compiled = openvino.Core().compile_model(model, "CPU", options)
        except OPENVINO_FAILURES:
            raise WeightsError(f"{path}: does not run on a picture of {side} x {side} px") from None
        self.scale = self._try_out()
        """By how much the model itself enlarges."""

    def enlarge(self, image: Image, factor: int) -> AnyImage:
        """Return a photo enlarged; where the model's scale is another, its result is resized by Lanczos.

        Args:
            image: The photo.
            factor: By how much, in both directions.

        Raises:
            ImageError: If the result would be too large.
        """
        check_enlarged_size(image, factor)
        height, width = image.shape[:2]
        result = np.empty((height * factor, width * factor, 3), dtype=np.uint8)
        step = self.tile_px - 2 * OVERLAP_PX
        for top in range(0, height, step):
            for left in range(0, width, step):
                rows, columns = min(step, height - top), min(step, width - left)
                made = PIL.Image.fromarray(self._run(_piece(image, top, left, self.tile_px)))
                edge = OVERLAP_PX * self.scale
                box = (edge, edge, edge + columns * self.scale, edge + rows * self.scale)
                size = (columns * factor, rows * factor)
                # The box alone is resized, but its surroundings are read: no edge where pieces meet.
                part = made.resize(size, PIL.Image.Resampling.LANCZOS, box=box)
                result[top * factor :, left * factor :][: size[1], : size[0]] = np.asarray(part)
        return result

    def _read(self) -> Any:
        try:
            frontend = FrontEndManager().load_by_framework("onnx")
            model = frontend.convert(frontend.load(str(self.path)))
        except OPENVINO_FAILURES:
            raise WeightsError(f"{self.path}: not an ONNX file, or a damaged one") from None
        try:
            model.get_rt_info(["framework", METADATA_KEY])
        except RuntimeError:
            return model
        raise WeightsError(f"{self.path}: a model of faces; expected one that enlarges pictures of any kind")

    def _understand(self, model: Any, tile_px: int) -> tuple[bool, bool, int]:
        """Read range, layout and size of the pieces from the graph."""
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            count = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
            raise WeightsError(f"{self.path}: has {count}; {_EXPECTED}")
        shape, kind = model.input(0).get_partial_shape(), model.input(0).get_element_type().to_string()
        lengths = [length.get_length() if length.is_static else None for length in shape] if (
            shape.rank.is_static
        ) else []  # fmt: skip
        known = {"u8": False, "f32": True, "f16": True}
        if len(lengths) != 4 or kind not in known or 3 not in (lengths[1], lengths[3]):
            raise WeightsError(f"{self.path}: reads {kind}, {shape}; {_EXPECTED}")
        channels_first = lengths[1] == 3 and (lengths[3] != 3 or known[kind])
        sides = {side for side in (lengths[2:] if channels_first else lengths[1:3]) if side is not None}
        if len(sides) > 1 or any(side <= 2 * OVERLAP_PX for side in sides):
            raise WeightsError(
                f"{self.path}: reads pictures of {shape}; expected any size, or squares of more than "
                f"{2 * OVERLAP_PX} px"
            )
        return known[kind], channels_first, sides.pop() if sides else tile_px

    def _try_out(self) -> int:
        """Return the model's scale, having seen that it makes of a plain picture that picture.

        Raises:
            WeightsError: If it does not.
        """
        side = self.tile_px
        ramp = np.linspace(40, 215, side).astype(np.uint8)
        picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(128)), axis=2)
        made = self._run(np.ascontiguousarray(picture))
        scale = made.shape[0] // side
        if scale < 1 or made.shape != (side * scale, side * scale, 3):
            size = " x ".join(map(str, made.shape))
            raise WeightsError(
                f"{self.path}: makes {size} of {side} x {side} x 3; expected it enlarged evenly"
            )
        plain = PIL.Image.fromarray(picture).resize(made.shape[:2], PIL.Image.Resampling.BICUBIC)
        inner = slice(side * scale // 8, -(side * scale // 8))
        wrong = np.abs(made.astype(int) - np.asarray(plain))[inner, inner].mean()
        if wrong > 24:  # a model that enlarges is off by 1 or 2; another range or layout by 60 and more
            raise WeightsError(
                f"{self.path}: a plain picture comes back {wrong:.0f} grey levels off; {_EXPECTED}, RGB"
            )
        return scale

    def _run(self, piece: UInt8[np.ndarray, "t t 3"]) -> UInt8[np.ndarray, "t2 t3 c"]:
        """Return what the model makes of one piece, as a picture."""
        picture = piece.astype(np.float32) / 255 if self._is_float else piece
        if self._channels_first:
            picture = picture.transpose(2, 0, 1)
        answer = self._compiled.infer_new_request([np.ascontiguousarray(picture[None])])[0]
        if answer.ndim != 4 or len(answer) != 1:
            raise WeightsError(f"{self.path}: makes an array of shape {answer.shape}; {_EXPECTED}")
        made = answer[0].transpose(1, 2, 0) if self._channels_first else answer[0]
        if made.dtype == np.uint8:
            return np.ascontiguousarray(made)
        return np.rint(np.clip(made.astype(np.float32) * 255, 0, 255)).astype(np.uint8)


def open_background(model: "str | Path | Background", *, threads: int | None = None) -> Background:
    """Take a background's model, or open the file that is named, with so many threads; None uses all cores.

    Raises:
        WeightsError: If there is no such file, or it is no such model.
    """
    return BackgroundModel(model, threads=threads) if isinstance(model, str | Path) else model


def _piece(image: UInt8[np.ndarray, "h w 3"], top: int, left: int, side: int) -> UInt8[np.ndarray, "t t 3"]:
    """Cut out a square that begins `OVERLAP_PX` before (top, left), mirrored beyond the photo's border."""
    rows, columns = (
        _mirrored(np.arange(start - OVERLAP_PX, start - OVERLAP_PX + side), length)
        for start, length in ((top, image.shape[0]), (left, image.shape[1]))
    )
    return image[rows[:, None], columns[None]]


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Fold indices back into 0..length - 1, as often as need be; the border itself is repeated."""
    folded = index % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded)
