"""Writers of files that Pillow cannot write in full: TIFF, and PNG of 16 bits."""

import itertools
import struct
import zlib

import numpy as np
import PIL.Image
from jaxtyping import UInt16

from sparnet.errors import ImageError
from sparnet.image.failures import quiet_pillow, reason_of
from sparnet.image.formats import ByteFile
from sparnet.image.metadata import EXIF_DIRECTORIES, EXIF_PREFIX, PNG_XMP, renewed_exif
from sparnet.image.photo import Photo


def write_deep_png(file: ByteFile, samples: UInt16[np.ndarray, "h w c"], photo: Photo) -> None:
    """Write 16 bits by OpenCV, which Pillow cannot, and put the metadata after the header."""
    import cv2

    if samples.shape[2] > 1:
        samples = cv2.cvtColor(samples, cv2.COLOR_RGB2BGR if samples.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    try:
        encoded = cv2.imencode(".png", samples)[1].tobytes()
    except cv2.error as error:
        raise ImageError(f"cannot be written ({reason_of(error)})") from None
    header = 8 + 25  # the signature and IHDR
    file.write(encoded[:header])
    if photo.icc_profile is not None:
        file.write(_png_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(photo.icc_profile)))
    if photo.dpi is not None:
        across, down = (round(value / 0.0254) for value in photo.dpi)
        file.write(_png_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    if photo.exif is not None:
        file.write(_png_chunk(b"eXIf", photo.exif.removeprefix(EXIF_PREFIX)))
    if photo.xmp is not None:
        file.write(_png_chunk(b"iTXt", PNG_XMP.encode() + b"\0\0\0\0\0" + photo.xmp))
    file.write(encoded[header:])


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def write_tiff(file: ByteFile, samples: np.ndarray, photo: Photo) -> None:
    """Write a deflated TIFF; Pillow keeps its directory but cannot write 16-bit colour."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    height, width, channels = samples.shape
    has_alpha = channels in (2, 4)
    rows = max(1, 2**20 // (width * channels * samples.itemsize))
    strips = [_tiff_strip(samples[top : top + rows]) for top in range(0, height, rows)]
    sizes = [len(strip) for strip in strips]
    directory = ImageFileDirectory_v2()
    with quiet_pillow():
        exif = PIL.Image.Exif()
        exif.load(renewed_exif(photo.exif) or b"")
        for tag in exif:
            directory[tag] = exif.get_ifd(tag) if tag in EXIF_DIRECTORIES else exif[tag]
        directory[256], directory[257] = width, height
        directory[258] = (8 * samples.itemsize,) * channels
        directory[259] = 8  # deflate
        directory[262] = 2 if channels > 2 else 1  # RGB, or gray with black 0
        directory.tagtype[273] = directory.tagtype[279] = 4  # 32 bits
        # Offsets count from the end of the directory, which moves them itself.
        directory[273] = tuple(itertools.accumulate(sizes[:-1], initial=0))
        directory[277] = channels
        directory[278] = rows
        directory[279] = tuple(sizes)
        directory[317] = 2  # differences along rows
        if has_alpha:
            directory[338] = 2  # not multiplied into the colours
        if photo.dpi is not None:
            directory[282], directory[283] = photo.dpi
            directory[296] = 2  # inches
        if photo.xmp is not None:
            directory.tagtype[700] = 1
            directory[700] = photo.xmp
        if photo.icc_profile is not None:
            directory[34675] = photo.icc_profile
        directory.save(file)
    file.writelines(strips)


def _tiff_strip(samples: np.ndarray) -> bytes:
    differences = samples.astype(samples.dtype.newbyteorder("<"))
    differences[:, 1:] -= samples[:, :-1]
    return zlib.compress(differences.tobytes(), level=1)  # 6 takes eight times as long to save 6 %
