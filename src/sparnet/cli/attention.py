"""`sparnet attention`: the attention maps of a face as pictures."""

from pathlib import Path
from typing import Annotated

import typer

from sparnet.cli.batch import make_output_folder, print_json
from sparnet.cli.options import AsJson, Model, OutputFolder, Verbose


def attention(
    face: Annotated[Path, typer.Argument(metavar="FACE", help="A picture of a face.", show_default=False)],
    output: OutputFolder,
    *,
    model: Model = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Draw where a network looks: the attention map of each unit, from the input to the output.

    Writes one PNG a unit and a sheet of all, NAME_attention.png. A larger picture
    is first reduced to what the model knows, as in the paper's figures.
    """
    import numpy as np

    from sparnet.drawing import draw_map, draw_sheet, mean_map
    from sparnet.engine.openvino import OpenvinoEngine
    from sparnet.errors import ImageError
    from sparnet.image import read_image, resize_bicubic, show_path, write_image
    from sparnet.upscaling import Upscaler, as_known, reduce_to_known

    picture = read_image(face)
    upscaler = Upscaler(model)
    reduced = reduce_to_known(picture, upscaler.info)
    try:
        prepared = upscaler.prepare(reduced)
    except ImageError as error:
        how = "" if reduced is picture else "reduced to what the model knows, "
        raise ImageError(f"{show_path(face)}: {how}{error}") from None
    make_output_folder(output)
    made = upscaler.run([prepared])[0]
    sr, engine = made.sr, upscaler.engine_of(made)
    if not isinstance(engine, OpenvinoEngine):
        raise TypeError("attention maps need the OpenVINO engine")
    read = as_known(prepared.lr, engine.info)
    maps = [mean_map(one) for one in engine.attention_maps(read[None])]
    size = engine.info.image_size
    drawn = [draw_map(one, size=size) for one in maps]
    files = [output / f"{face.stem}_attention_{index:02d}.png" for index in range(1, len(drawn) + 1)]
    for file, one_drawn in zip(files, drawn, strict=True):
        write_image(file, one_drawn)
    captions = [f"{index}: {one.shape[1]} px" for index, one in enumerate(maps, start=1)]
    result = np.full((size, size, 3), 255, dtype=np.uint8)
    result[prepared.top :, prepared.left :][: len(sr), : sr.shape[1]] = sr  # where the maps have the face
    shown = [("input", resize_bicubic(read, size, size)), ("result", result)]
    sheet = output / f"{face.stem}_attention.png"
    write_image(sheet, draw_sheet([*shown, *zip(captions, drawn, strict=True)]))
    for note in made.notes:
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
