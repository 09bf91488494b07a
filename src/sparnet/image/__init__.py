"""Read and write photos, and find them on disk.

A picture is `uint8`, H x W x RGB, everywhere in this half. What else a photo is (transparency,
gray, 16 bits, colour profile, EXIF) is kept beside the pixels in a `Photo`, and goes back into
the file that is written. Pixels stay in the file's own colour space and its ICC profile travels
on; CMYK and Lab alone are turned into sRGB.
"""

from sparnet.image.failures import show_path
from sparnet.image.finding import FoundPicture, find_pictures, folded, resolved_place
from sparnet.image.formats import MAX_PIXELS, PICTURE_SUFFIXES, WRITABLE_SUFFIXES, ByteFile
from sparnet.image.photo import Photo
from sparnet.image.pixels import AnyImage, Image, check_image, resize_bicubic
from sparnet.image.reading import decode_photo, picture_size, read_image, read_photo
from sparnet.image.writing import encode_photo, write_image, write_photo

__all__ = [
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "AnyImage",
    "ByteFile",
    "FoundPicture",
    "Image",
    "Photo",
    "check_image",
    "decode_photo",
    "encode_photo",
    "find_pictures",
    "folded",
    "picture_size",
    "read_image",
    "read_photo",
    "resize_bicubic",
    "resolved_place",
    "show_path",
    "write_image",
    "write_photo",
]
