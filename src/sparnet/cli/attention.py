"""`sparnet attention`: the attention maps of a face as pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparnet.cli.batch import make_output_folder, print_json
from sparnet.cli.options import AsJson, Model, OutputFolder, Verbose

if TYPE_CHECKING:
    from sparnet.engine import Engine
    from sparnet.image import AnyImage, Image

LARGEST_PX = 256
"""Side of the pictures drawn, px, at most: sheets of networks for 512 px would be huge."""


@dataclass(frozen=True)
class Looked:
    """What a network read, and made of it."""

    engine: "Engine"
    """The network."""
    read: "AnyImage"
    """The face as it read it."""
    made: "AnyImage"
    """The result, as large as the network makes it."""
    notes: tuple[str, ...] = ()
    """What a person should know."""


def attention(
    face: Annotated[Path, typer.Argument(metavar="FACE", help="A picture of a face.", show_default=False)],
    output: OutputFolder,
    *,
    model: Model = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Draw where a network looks: the attention map of each unit, from the input to the output.

    Writes one PNG a unit and a sheet of all, NAME_attention.png. The network is
    the one that `sparnet upscale` takes for the face, or what -m names; one that
    restores looks at the largest face of a photo.
    """
    from sparnet.drawing import draw_map, draw_sheet, mean_map
    from sparnet.engine import open_engine
    from sparnet.engine.openvino import OpenvinoEngine
    from sparnet.errors import ImageError, NoFaceFound
    from sparnet.image import read_image, resize_bicubic, show_path, write_image

    picture = read_image(face)
    named = None if model is None else open_engine(model)
    try:
        if named is not None and named.info.task == "restore":
            looked = _at_a_restored_face(picture, named)
        else:
            looked = _at_an_upscaled_face(picture, named)
    except (ImageError, NoFaceFound) as error:
        raise type(error)(f"{show_path(face)}: {error}") from None
    engine, read = looked.engine, looked.read
    if not isinstance(engine, OpenvinoEngine):
        raise TypeError("attention maps need the OpenVINO engine")
    maps = [mean_map(one) for one in engine.attention_maps(read[None])]
    make_output_folder(output)
    size = min(LARGEST_PX, engine.info.image_size)
    drawn = [draw_map(one, size=size) for one in maps]
    files = [output / f"{face.stem}_attention_{index:02d}.png" for index in range(1, len(drawn) + 1)]
    for file, one_drawn in zip(files, drawn, strict=True):
        write_image(file, one_drawn)
    captions = [f"{index}: {one.shape[1]} px" for index, one in enumerate(maps, start=1)]
    pictures = (("input", read), ("result", looked.made))
    shown = [(name, resize_bicubic(one, size, size)) for name, one in pictures]
    sheet = output / f"{face.stem}_attention.png"
    write_image(sheet, draw_sheet([*shown, *zip(captions, drawn, strict=True)]))
    for note in looked.notes:
        typer.echo(f"sparnet: {show_path(face)}: {note}", err=True)
    if as_json:
        units = [
            {
                "file": str(file),
                "size_px": one.shape[1],
                "least": round(float(one.min()), 6),
                "greatest": round(float(one.max()), 6),
            }
            for file, one in zip(files, maps, strict=True)
        ]
        print_json({"sheet": str(sheet), "model": engine.info.name, "units": units})
        return
    if verbose:
        for file, one in zip(files, maps, strict=True):
            typer.echo(f"{show_path(file)}: {one.shape[1]} px, weights {one.min():.3f} to {one.max():.3f}")
    typer.echo(f"{len(maps)} attention maps of {engine.info.name}: {show_path(sheet)}")


def _at_an_upscaled_face(picture: "Image", named: "Engine | None") -> Looked:
    import numpy as np

    from sparnet.upscaling import Upscaler, as_known

    upscaler = Upscaler(named)
    prepared = upscaler.prepare_reduced(picture)
    made = upscaler.run([prepared])[0]
    engine = upscaler.engine_of(made)
    result = np.full((engine.info.image_size, engine.info.image_size, 3), 255, dtype=np.uint8)
    rows, columns = made.sr.shape[:2]
    result[prepared.top :, prepared.left :][:rows, :columns] = made.sr  # where the maps have the face
    return Looked(engine, as_known(prepared.lr, engine.info), result, made.notes)


def _at_a_restored_face(picture: "Image", engine: "Engine") -> Looked:
    from sparnet.errors import NoFaceFound
    from sparnet.faces.align import align
    from sparnet.faces.detect import open_detector

    faces = open_detector().detect(picture)
    if not faces:
        raise NoFaceFound("no face found")
    read = align(picture, max(faces, key=lambda face: face.size_px), engine.info.input_size).image
    notes = (f"{len(faces)} faces: the largest is looked at",) if len(faces) > 1 else ()
    return Looked(engine, read, engine.run(read[None])[0], notes)
