"""Enlarge tiny faces: what the paper's SPARNet is for."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import PIL.Image
from jaxtyping import Float, Float32, UInt8

from sparnet.engine import Engine, open_engine
from sparnet.engine.base import Precision
from sparnet.errors import ImageError, WeightsError
from sparnet.image import AnyImage, Image, check_image, resize_bicubic
from sparnet.weights.catalog import DEFAULT_UPSCALE, FINER_UPSCALE, known_models, model_for_factor
from sparnet.weights.info import ModelInfo

SMALLEST_PX = 4
"""Faces with a shorter side hold nothing to enlarge."""
DEFAULT_FACTOR = 8
BACK_PROJECTIONS = 3
"""Times that the difference between a face and its enlargement reduced again is added. More gains
little and sharpens noise."""
_BAND = 4
"""Width of a band of waves, in half cycles a face."""
_NOTHING = 0.5
"""Share of the energy that the network made of a band, below which a face is blurred there."""
_CLEAN_VARIANCE = 7.0
"""Mean square, in grey levels, of what `sparnet-x4` leaves of a clean face of 32 px: 53 of 60 have less."""
_TEXTURE_VARIANCE = 40.0
"""Variance at which half of what looks like white noise is believed to be. Skin and hair look like some: a
face without noise seems to have about 5, one with noise of variance 25 has 34, one with 100 has 103."""
_BLOCK_PX = 8
_BLOCKS_DOUBTED, _BLOCKS_CERTAIN = 8.0, 16.0
"""Blockiness up to which a face is believed to have no JPEG blocks, and from which on it is known to: 98 of
100 clean faces have less than 8, those of 64 px saved at quality 50 have 14, of 96 px at 75 have 19."""
_WORST_VARIANCE = 36.0
"""Mean square, in grey levels, of what `sparnet-x4` leaves of a face of 16 to 31 px, above which the
face is too bad for `sparnet-x8`: fewer than 1 in 100 clean ones have more. About there both networks are as
good as each other for faces with noise and JPEG blocks."""


@dataclass(frozen=True)
class PreparedFace:
    """A face as the network reads it, and the way back."""

    lr: AnyImage
    """The face as it is, padded to a square."""
    lr_up: AnyImage
    """The same as the network reads it: `info.input_size` a side, and no more detail than it knows."""
    height: int
    """Rows of the result that are the face; the others are padding."""
    width: int
    """Columns of the result that are the face."""
    top: int
    """Rows of padding above the face in the result."""
    left: int
    """Columns of padding before the face in the result."""
    notes: tuple[str, ...]
    """What a person should know: that the face is not of the size the model was trained for."""


@dataclass(frozen=True)
class UpscaledFace:
    """A face enlarged."""

    sr: Image
    """What the network made."""
    bicubic: Image
    """Plain bicubic enlargement to the same size."""
    model: str
    """Name of the network that made it."""
    notes: tuple[str, ...]
    """What a person should know about this face."""


def known_px(info: ModelInfo) -> int:
    """Return the side of the faces that a network was trained to enlarge, in px."""
    return info.image_size // (info.upscale_factor or DEFAULT_FACTOR)


def reduce_to_known(face: AnyImage, info: ModelInfo) -> AnyImage:
    """Reduce a face that is larger than what a network was trained on, its proportions kept."""
    height, width = face.shape[:2]
    share = known_px(info) / max(height, width)
    if share >= 1:
        return face
    return resize_bicubic(face, max(1, round(height * share)), max(1, round(width * share)))


def prepare_face(face: AnyImage, info: ModelInfo, *, finer: ModelInfo | None = None) -> PreparedFace:
    """Enlarge a face bicubically to what the network reads, padding it to a square if it is none.

    A face enlarged by whole pixels is reduced to what it was first.

    Args:
        face: A face as it is, at best `image_size / upscale_factor` px a side.
        info: The model's description.
        finer: Description of the model that takes over for faces of the size it knows, if one does.

    Raises:
        ImageError: If the face is too small to hold anything, or larger than the result would be.
    """
    notes, own = [], f"{face.shape[1]} x {face.shape[0]} px"
    face, times = without_repeats(face)
    rows, columns = face.shape[:2]
    if times > 1:
        own += f" ({columns} x {rows} px, each there {times} x {times} times)"
        notes.append(f"each pixel is there {times} x {times} times: reduced to {columns} x {rows} px")
    side, full = max(rows, columns), info.image_size
    expected = known_px(info)
    if min(rows, columns) < SMALLEST_PX:
        raise ImageError(
            f"{own} is too small: expected a face of about {expected} x {expected} px, "
            f"at least {SMALLEST_PX} px a side"
        )
    if side > full:
        raise ImageError(
            f"{own} is larger than the {full} x {full} px this model makes; "
            "crop a tiny face first, or use sparnet restore for photos"
        )
    nearest = finer if finer is not None and side >= known_px(finer) else info
    expected = known_px(nearest)
    if (rows, columns) != (expected, expected):
        shape = "not square, padded; " if rows != columns else ""
        made = f"{round(columns * full / side)} x {round(rows * full / side)}"
        notes.append(
            f"{columns} x {rows} px, where {expected} x {expected} is expected: {shape}enlarged to {made} px"
        )
    if side > 2 * expected:
        notes.append(f"{nearest.name} knows faces of {expected} px: it adds little to so large a face")
    top, left = (side - rows) // 2, (side - columns) // 2
    margins = ((top, side - rows - top), (left, side - columns - left), (0, 0))
    square = np.pad(face, margins, mode="edge") if rows != columns else face
    return PreparedFace(
        square,
        as_known(square, info),
        height=round(rows * full / side),
        width=round(columns * full / side),
        top=round(top * full / side),
        left=round(left * full / side),
        notes=tuple(notes),
    )


def without_repeats(face: AnyImage) -> tuple[AnyImage, int]:
    """Undo an enlargement by whole pixels, as screenshots of tiny pictures have it.

    Args:
        face: Any picture.

    Returns:
        One pixel for each square of equal ones, and the squares' side in px: the largest for which all
        of the picture is made of such squares, and at least 4 px a side are left; 1 changes nothing.
    """
    rows, columns = face.shape[:2]
    lines = (face, face.swapaxes(0, 1))
    edges = [np.flatnonzero((one[1:] != one[:-1]).any(axis=(1, 2))) + 1 for one in lines]
    common = math.gcd(rows, columns, *np.concatenate(edges).tolist())
    largest = min(rows, columns) // SMALLEST_PX
    times = next((times for times in range(largest, 1, -1) if common % times == 0), 1)
    return face[::times, ::times], times


def as_known(face: UInt8[np.ndarray, "s s 3"], info: ModelInfo) -> UInt8[np.ndarray, "i i 3"]:
    """Return a face as a network reads it, which was trained on tiny ones.

    A larger face is reduced first: a network that knows faces of 16 px makes a worse one of 32 px,
    enlarged, than of the same reduced to 16.

    Args:
        face: Square.
        info: The model's description.

    Returns:
        The face with the detail of one of `image_size / upscale_factor` px, `input_size` a side.
    """
    if len(face) > known_px(info):
        face = resize_bicubic(face, known_px(info), known_px(info))
    return resize_bicubic(face, info.input_size, info.input_size)


def keep_detail(
    sr: UInt8[np.ndarray, "n n 3"], lr: UInt8[np.ndarray, "m m 3"], *, known_px: int, blind: bool = False
) -> UInt8[np.ndarray, "n n 3"]:
    """Give an enlarged face the detail that the face itself shows and the network did not see.

    A face that is blurred lacks the finer waves, whatever its size: of each band of waves it gets back
    what it has, measured by what the network made of it, and keeps the network's where it has little.
    Where the network knows bad faces, what it left of the face at the size that it knows tells how much
    noise there is; of each band comes back the share that is not noise (Wiener's filter).

    Args:
        sr: What the network made of the face reduced to `known_px`.
        lr: The face itself, at most as large.
        known_px: Side of the faces that the network knows.
        blind: Whether the network was trained on faces with noise, JPEG blocks and blur.

    Returns:
        `sr`, or for a face larger than `known_px` (at least as large, where `blind`) the mean of `sr` and
        `back_project(sr, lr)`, weighted band by band; for a sharp, clean one it is nearly the latter.
    """
    if len(lr) < known_px or (len(lr) == known_px and not blind):
        return sr
    made = sr.astype(np.float32)
    shares = _shares_of_bands(_resized(made, len(lr)), lr.astype(np.float32))
    if blind:
        shares *= _shares_without_noise(made, lr.astype(np.float32), known_px)
    change = back_project(sr, lr).astype(np.float32) - made
    centres = _BAND * (np.arange(len(shares)) + 0.5)
    share = np.interp(np.hypot.outer(*_frequencies(len(sr))), centres, shares)
    spectra = (np.fft.rfft2(_mirrored(change[:, :, band])) * share for band in range(3))
    filtered = [np.fft.irfft2(spectrum, (2 * len(sr),) * 2)[: len(sr), : len(sr)] for spectrum in spectra]
    return np.rint(np.clip(made + np.stack(filtered, axis=2), 0, 255)).astype(np.uint8)


def _shares_of_bands(
    made: Float32[np.ndarray, "m m 3"], lr: Float32[np.ndarray, "m m 3"]
) -> Float[np.ndarray, " bands"]:
    """Say for each band of waves how far a face is to be trusted: 1 if it has as much as was made, 0 at half.

    No band is trusted more than a coarser one, since blur takes the finest first.
    """
    has, wanted = (_energy_by_band(picture.mean(axis=2)) for picture in (lr, made))
    ratios = np.pad(has / np.maximum(1e-9, wanted), 1, mode="edge")
    ratios = np.convolve(ratios, [0.25, 0.5, 0.25], mode="valid")
    return np.minimum.accumulate(np.clip((ratios - _NOTHING) / (1 - _NOTHING), 0, 1))


def _shares_without_noise(
    made: Float32[np.ndarray, "n n 3"], lr: Float32[np.ndarray, "m m 3"], known_px: int
) -> Float[np.ndarray, " bands"]:
    """Say for each band of waves which share of what the network left of a face is not noise.

    White noise has the same power in all bands, and shows where the face is smooth. What else is wrong with
    a face shows in what the network left of it at the size that it knows, and JPEG blocks by their grid.
    No band of the face can have less noise than that, which of a sharp face the finest shows; with JPEG
    blocks the finest has nothing else.
    """
    left = lr - _resized(made, len(lr))
    powers = _energy_by_band(*np.moveaxis(left, 2, 0)) / _noise_by_band(len(lr))
    white = white_noise_variance(left)
    white *= white / (white + _TEXTURE_VARIANCE)
    unknown = _variance_left(made, _resized(lr, known_px)) - _CLEAN_VARIANCE
    certainty = (blockiness(lr) - _BLOCKS_DOUBTED) / (_BLOCKS_CERTAIN - _BLOCKS_DOUBTED)
    noise = max(white, unknown, powers[-1] * min(1, certainty))
    return np.clip(1 - min(noise, powers[-1]) / np.maximum(1e-9, powers), 0, 1)


def white_noise_variance(picture: Float32[np.ndarray, "a b 3"]) -> float:
    """Estimate the variance of the white noise in a picture, at least 2 px a side, from its smooth places.

    The finest diagonal band of the Haar wavelet has little else.

    Source:
        Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", 1994: the median absolute
        coefficient.
    """
    even = picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2]
    diagonal = (even[::2, ::2] - even[::2, 1::2] - even[1::2, ::2] + even[1::2, 1::2]) / 2
    return float(np.median(np.abs(diagonal)) / NormalDist().inv_cdf(0.75)) ** 2


def blockiness(picture: Float32[np.ndarray, "a b 3"]) -> float:
    """Say how certain it is that a picture has the blocks of 8 x 8 px of a JPEG, wherever their grid begins.

    Between the columns of two blocks there is a step, which is more often higher than those beside it than
    between columns of the same block; so it is with rows. By how many standard deviations of chance is
    added up for columns and rows. 0 for a picture with a side below 24 px, which has no grid to speak of.
    """
    if min(picture.shape[:2]) < 3 * _BLOCK_PX:
        return 0.0
    return sum(_excess_at_a_grid(lines) for lines in (picture, picture.transpose(1, 0, 2)))


def _excess_at_a_grid(picture: Float32[np.ndarray, "a b 3"]) -> float:
    """Return how much oftener steps between columns are the highest of three at one place of eight."""
    steps = np.abs(np.diff(picture, axis=1))
    highest = np.sign(steps[:, 1:-1] - np.maximum(steps[:, :-2], steps[:, 2:]))
    means = np.sort([highest[:, first::_BLOCK_PX].mean() for first in range(_BLOCK_PX)])
    return float((means[-1] - means[:-1].mean()) * math.sqrt(highest[:, ::_BLOCK_PX].size / 3))


@functools.cache
def _noise_by_band(side: int) -> Float[np.ndarray, " bands"]:
    """Return the energy of white noise of variance 1 in each band of waves of a picture."""
    chances = [np.random.default_rng(seed) for seed in range(8)]
    pictures = [chance.standard_normal((side, side, 3), dtype=np.float32) for chance in chances]
    return np.mean([_energy_by_band(*np.moveaxis(picture, 2, 0)) for picture in pictures], axis=0)


def _variance_left(made: Float32[np.ndarray, "n n 3"], lr: Float32[np.ndarray, "m m 3"]) -> float:
    """Return the mean square, in grey levels, of what a network left of a face that it enlarged."""
    return float(np.square(lr - _resized(made, len(lr))).mean())


def _energy_by_band(*planes: Float32[np.ndarray, "a a"]) -> Float[np.ndarray, " bands"]:
    """Measure the energy of the waves of planes of one size, all together, in each band of waves."""
    side = len(planes[0])
    band = (np.hypot.outer(*_frequencies(side)) / _BAND).astype(int).ravel()
    mirrored = (_mirrored(plane) for plane in planes)
    energies = sum(np.square(np.abs(np.fft.rfft2(plane)) / plane.size) for plane in mirrored)
    return np.bincount(band, np.ravel(energies))[: side // _BAND]


def _mirrored(plane: Float32[np.ndarray, "a a"]) -> Float32[np.ndarray, "b b"]:
    """Continue a plane by its mirror image, so that the border is no edge."""
    tall = np.concatenate([plane, plane[::-1]])
    return np.concatenate([tall, tall[:, ::-1]], axis=1)


def _frequencies(side: int) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " c"]]:
    """Return the vertical and horizontal frequencies of a mirrored plane's waves, in half cycles a side."""
    return np.abs(np.fft.fftfreq(2 * side)) * 2 * side, np.arange(side + 1.0)


def back_project(
    sr: UInt8[np.ndarray, "n n 3"], lr: UInt8[np.ndarray, "m m 3"], *, times: int = BACK_PROJECTIONS
) -> UInt8[np.ndarray, "n n 3"]:
    """Change an enlarged face so that, reduced again, it is nearly the face it was made of.

    Args:
        sr: The enlarged face.
        lr: The face, at most as large.
        times: How often the difference is added.

    Source:
        Iterative back-projection: Irani and Peleg, "Improving Resolution by Image Registration", 1991.
    """
    made, wanted = sr.astype(np.float32), lr.astype(np.float32)
    for _ in range(times):
        made += _resized(wanted - _resized(made, len(lr)), len(sr))
    return np.rint(np.clip(made, 0, 255)).astype(np.uint8)


def _resized(picture: Float32[np.ndarray, "a a 3"], side: int) -> Float32[np.ndarray, "b b 3"]:
    """Resize by Pillow's bicubic filter, unrounded."""
    bands = [PIL.Image.fromarray(np.ascontiguousarray(picture[:, :, band])) for band in range(3)]
    return np.stack(
        [np.asarray(band.resize((side, side), PIL.Image.Resampling.BICUBIC)) for band in bands], axis=2
    )


class Upscaler:
    """A model kept loaded, for many faces.

    Where neither model nor factor is named, two share the work: `sparnet-x8` for clean faces of 16 to 31
    px, and `sparnet-x4`, which knows noise, JPEG blocks and blur, for all others.

    Args:
        model: Name of a model of the catalog, path of a model file, or an engine already loaded; None
            takes the one for `upscale_factor`.
        upscale_factor: 4, 8 or 16; None takes the model's own, or for each face that of the better network.
        engine: See `sparnet.engine.open_engine`.
        precision: Arithmetic of the engine; see `sparnet.engine.open_engine`.
        threads: Threads of the engine; None uses all cores.

    Raises:
        WeightsError: If there is no such model, or it enlarges by another factor.
    """

    def __init__(
        self,
        model: str | Path | Engine | None = None,
        *,
        upscale_factor: int | None = None,
        engine: str = "openvino",
        precision: Precision = "auto",
        threads: int | None = None,
    ) -> None:
        self._open = functools.partial(open_engine, engine=engine, precision=precision, threads=threads)
        finer = known_models().get(FINER_UPSCALE) if model is None and upscale_factor is None else None
        self._finer_info = None if finer is None or not finer.info.blind else finer.info
        if model is None:
            wanted = upscale_factor or DEFAULT_FACTOR
            model = DEFAULT_UPSCALE if wanted == DEFAULT_FACTOR else model_for_factor(wanted)
        if isinstance(model, str | Path):
            model = self._open(model)
        self.engine: Engine = model
        self.info = self.engine.info
        if self.info.task != "upscale":
            raise WeightsError(
                f"{self.info.name} restores photos (sparnet restore); it does not enlarge tiny faces"
            )
        if upscale_factor is not None and upscale_factor != self.info.upscale_factor:
            raise WeightsError(
                f"{self.info.name} enlarges x{self.info.upscale_factor}, not x{upscale_factor}; "
                "name another model, or leave the factor out"
            )

    @functools.cached_property
    def finer(self) -> Engine | None:
        """The network that takes over for bad, larger and smaller faces, if there is one; loaded when needed.

        Raises:
            WeightsError: If its file is missing or damaged.
        """
        return None if self._finer_info is None else self._open(FINER_UPSCALE)

    def engine_of(self, face: UpscaledFace) -> Engine:
        """Return the engine that made a face."""
        finer = self.finer
        return finer if finer is not None and face.model == finer.info.name else self.engine

    def prepare(self, face: Image) -> PreparedFace:
        """See `prepare_face`.

        Raises:
            ImageError: If the face is too small to hold anything, or larger than the result would be.
            TypeError, ValueError: If it is no array of 8 bits, H x W x 3.
        """
        check_image(face, name="face")
        return prepare_face(face, self.info, finer=self._finer_info)

    def prepare_reduced(self, face: Image) -> PreparedFace:
        """Prepare a face of any size: one larger than the result is first reduced to what a network knows.

        Raises:
            ImageError: If the face is too small to hold anything.
            TypeError, ValueError: If it is no array of 8 bits, H x W x 3.
        """
        check_image(face, name="face")
        height, width = face.shape[:2]
        if max(height, width) <= self.info.image_size:
            return self.prepare(face)
        reduced = reduce_to_known(face, self._finer_info or self.info)
        how = f"{width} x {height} px, reduced to {reduced.shape[1]} x {reduced.shape[0]}"
        try:
            prepared = self.prepare(reduced)
        except ImageError as error:
            raise ImageError(f"{how}: {error}") from None
        note = f"{how} px: a square with little but the face is expected"
        return dataclasses.replace(prepared, notes=(note,))

    def run(self, faces: Sequence[PreparedFace]) -> list[UpscaledFace]:
        """Enlarge prepared faces, in one batch for each network.

        Raises:
            WeightsError: If the file of a network that is needed is missing or damaged.
        """
        if not faces:
            return []
        if self.finer is None:
            batch = self.engine.run(np.stack([face.lr_up for face in faces]))
            return [_end(face, sr, self.info) for face, sr in zip(faces, batch, strict=True)]
        info = self.finer.info
        made = list(self.finer.run(np.stack([as_known(face.lr, info) for face in faces])))
        infos, faces, clean = [info for _ in faces], list(faces), []
        for index, face in enumerate(faces):
            if not known_px(self.info) <= len(face.lr) < known_px(info):
                continue
            if _variance_left(made[index].astype(np.float32), face.lr.astype(np.float32)) <= _WORST_VARIANCE:
                clean.append(index)
            else:
                note = f"noisy, compressed or blurred: made by {info.name}, which knows such faces"
                faces[index] = dataclasses.replace(face, notes=(*face.notes, note))
        if clean:
            again = self.engine.run(np.stack([faces[index].lr_up for index in clean]))
            for index, sr in zip(clean, again, strict=True):
                made[index], infos[index] = sr, self.info
        return [_end(face, sr, by) for face, sr, by in zip(faces, made, infos, strict=True)]

    def upscale(self, face: AnyImage) -> AnyImage:
        """Enlarge one face.

        Args:
            face: A tiny face, aligned or roughly cropped.

        Returns:
            The enlarged face, its longer side `info.image_size` px.

        Raises:
            ImageError: If the face is too small or too large.
        """
        return self.run([self.prepare(face)])[0].sr


def _end(face: PreparedFace, sr: UInt8[np.ndarray, "n n 3"], info: ModelInfo) -> UpscaledFace:
    """Make the result of a face from what a network made of it."""
    full = info.image_size
    window = np.s_[face.top : face.top + face.height, face.left : face.left + face.width]
    sr = keep_detail(sr, face.lr, known_px=known_px(info), blind=info.blind)
    bicubic = resize_bicubic(face.lr, full, full)
    return UpscaledFace(
        np.ascontiguousarray(sr[window]), np.ascontiguousarray(bicubic[window]), info.name, face.notes
    )


def upscale(
    image: AnyImage,
    model: str | Path | None = None,
    *,
    upscale_factor: int | None = None,
    engine: str = "openvino",
) -> AnyImage:
    """Enlarge a tiny face; to enlarge many, keep an `Upscaler`.

    Args:
        image: An aligned or roughly cropped face, at best 16 x 16 px, or 32 x 32.
        model: Name or file of a model; None takes the default for `upscale_factor`, or the better of
            `sparnet-x8` and `sparnet-x4` for the face (see `Upscaler`).
        upscale_factor: 4, 8 or 16; None takes the model's own.
        engine: See `sparnet.engine.open_engine`.

    Returns:
        The enlarged face, 128 px for the default model.

    Raises:
        ImageError: If the picture is too small or too large.
        WeightsError: If there is no such model.
    """
    return Upscaler(model, upscale_factor=upscale_factor, engine=engine).upscale(image)


def side_by_side(pictures: Sequence[AnyImage], *, gap_px: int = 4) -> AnyImage:
    """Put pictures beside each other on white, in order; lower ones are enlarged without smoothing."""
    height = max(picture.shape[0] for picture in pictures)
    columns: list[np.ndarray] = []
    for picture in pictures:
        times = max(1, height // picture.shape[0])
        shown = picture.repeat(times, axis=0).repeat(times, axis=1)
        canvas = np.full((height, shown.shape[1], 3), 255, dtype=np.uint8)
        top = (height - shown.shape[0]) // 2
        canvas[top : top + shown.shape[0]] = shown
        columns += [canvas, np.full((height, gap_px, 3), 255, dtype=np.uint8)]
    return np.concatenate(columns[:-1], axis=1)
