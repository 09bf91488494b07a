"""`sparnet degrade`: bad photos made of good ones, and a manifest that says how."""

import enum
import hashlib
import json
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from sparnet.image import FoundPicture

MANIFEST = "degradations.jsonl"
"""Name of the file in the output folder that says what was done to each picture."""


class Preset(enum.StrEnum):
    """What degradations are drawn from."""

    PAPER = "paper"
    RELEASE = "release"


def degrade(
    src: Annotated[
        list[Path], typer.Argument(metavar="SRC...", help="Pictures, or folders of them.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write to.", show_default=False)
    ],
    *,
    seed: Annotated[int, typer.Option(min=0, help="Seed; each picture's chance is (seed, file name).")] = 0,
    preset: Annotated[
        Preset,
        typer.Option(help="paper: blur, noise and JPEG always. release: by chance, as in the released code."),
    ] = Preset.RELEASE,
    as_json: Annotated[bool, typer.Option("--json", help="Report in JSON.")] = False,
) -> None:
    """Make bad photos of good ones: blur, downsample, noise, JPEG, enlarge (Eq. 14).

    Writes a PNG of the same size for each picture, and degradations.jsonl with what was done to it.
    """
    from rich.console import Console
    from rich.progress import Progress

    from sparnet.degradation import DEGRADATIONS, degrade_with_parameters
    from sparnet.errors import ImageError
    from sparnet.image import find_pictures, read_image, show_path, write_image

    pictures, errors = find_pictures(src)
    failures = [str(error) for error in errors]
    for failure in failures:
        typer.echo(failure, err=True)
    records: list[dict[str, Any]] = []
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        for picture, file in progress.track(
            list(zip(pictures, _output_names(pictures), strict=True)), description="degrading"
        ):
            try:
                if (output / file).resolve() == picture.path.resolve():
                    raise ImageError(
                        f"{show_path(picture.path)}: would be overwritten; name another folder by -o"
                    )
                hr = read_image(picture.path)
                lr_up, parameters = degrade_with_parameters(
                    hr, _generator(seed, picture.path.name), DEGRADATIONS[preset]
                )
                write_image(output / file, lr_up)
            except ImageError as error:
                failures.append(str(error))
                typer.echo(str(error), err=True)
                continue
            records.append(
                {
                    "source": str(picture.path),
                    "file": file.as_posix(),
                    "parameters": parameters.model_dump(mode="json"),
                }
            )
    if records:
        try:
            _write_manifest(output / MANIFEST, records)
        except OSError as error:
            failures.append(f"{show_path(output / MANIFEST)}: cannot be written ({error.strerror})")
            typer.echo(failures[-1], err=True)
    if as_json:
        report = {"seed": seed, "preset": preset.value, "degraded": records, "failed": failures}
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        typer.echo(f"{len(records)} degraded, {len(failures)} failed; written to {show_path(output)}")
    if failures:
        raise typer.Exit(1)


def _output_names(pictures: "Sequence[FoundPicture]") -> list[Path]:
    """Name each output after its picture; `a.jpg` and `a.png` in one folder keep their suffixes."""
    names = [picture.folder / f"{picture.path.stem}.png" for picture in pictures]
    while len(set(names)) < len(names):
        counts = Counter(names)
        names = [
            name if counts[name] == 1 else picture.folder / f"{picture.path.name}.png"
            for name, picture in zip(names, pictures, strict=True)
        ]
    return names


def _generator(seed: int, name: str) -> "np.random.Generator":
    """Return the chance of one picture: a function of the seed and the file name, on any system."""
    import numpy as np

    # macOS may hand out names decomposed; a lone surrogate stands for what is no text.
    text = unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")
    words = np.frombuffer(hashlib.sha256(text).digest(), dtype="<u4")
    return np.random.default_rng([seed, *words.tolist()])


def _write_manifest(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write one JSON object a line; the file appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    temporary.replace(path)
