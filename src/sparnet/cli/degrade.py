"""`sparnet degrade`: bad photos made of good ones, and a manifest that says how."""

import enum
import hashlib
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparnet.cli.batch import find_jobs, make_output_folder, progress_bar
from sparnet.cli.options import AsJson, OutputFolder, Pictures, Recursive

if TYPE_CHECKING:
    import numpy as np

MANIFEST = "degradations.jsonl"
"""Name of the file in the output folder that says what was done to each picture."""


class Preset(enum.StrEnum):
    """What degradations are drawn from."""

    PAPER = "paper"
    RELEASE = "release"


def degrade(
    src: Pictures,
    output: OutputFolder,
    *,
    seed: Annotated[int, typer.Option(min=0, help="Seed; each picture's chance is (seed, file name).")] = 0,
    preset: Annotated[
        Preset,
        typer.Option(help="paper: blur, noise and JPEG always. release: by chance, as in the released code."),
    ] = Preset.RELEASE,
    recursive: Recursive = False,
    as_json: AsJson = False,
) -> None:
    """Make bad photos of good ones: blur, downsample, noise, JPEG, enlarge (Eq. 14).

    Writes a PNG of the same size for each picture, and degradations.jsonl with what was done to it.

    What an earlier call wrote there of other pictures stays while they are in the folder.
    """
    from sparnet.degradation import DEGRADATIONS, degrade_with_parameters
    from sparnet.errors import ImageError
    from sparnet.image import read_image, show_path, write_image
    from sparnet.image.failures import naming

    batch = find_jobs(src, output, recursive=recursive)
    if batch.jobs:
        make_output_folder(output, (job.target for job in batch.jobs))
    with progress_bar("degrading", len(batch.jobs)) as advance:
        for job in batch.jobs:
            try:
                hr = read_image(job.source)
                chance = _generator(seed, job.source.name)
                with naming(job.source):
                    lr_up, parameters = degrade_with_parameters(hr, chance, DEGRADATIONS[preset])
                write_image(job.target, lr_up)
            except ImageError as error:
                batch.fail(str(error))
            else:
                batch.done.append(
                    {
                        "source": str(job.source),
                        "file": job.target.relative_to(output).as_posix(),
                        "seed": seed,
                        "preset": preset.value,
                        "parameters": parameters.model_dump(mode="json"),
                    }
                )
            advance()
    if batch.done:
        try:
            _write_manifest(output / MANIFEST, batch.done)
        except OSError as error:
            batch.fail(f"{show_path(output / MANIFEST)}: cannot be written ({error.strerror})")
    batch.finish("picture", "degraded", as_json=as_json, seed=seed, preset=preset.value)


def _generator(seed: int, name: str) -> "np.random.Generator":
    """Return the chance of one picture: a function of the seed and the file name, on any system."""
    import numpy as np

    # macOS may hand out names decomposed; a lone surrogate stands for what is no text.
    text = unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")
    words = np.frombuffer(hashlib.sha256(text).digest(), dtype="<u4")
    return np.random.default_rng([seed, *words.tolist()])


def _write_manifest(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write one JSON object a line, after those of other pictures that are there; whole or not at all."""
    from sparnet.files import read_json_lines, write_whole

    made = {record["file"] for record in records}
    kept = [
        record
        for record in read_json_lines(path)
        if isinstance(record, dict)
        and isinstance(file := record.get("file"), str)
        and file not in made
        and (path.parent / file).is_file()
    ]
    write_whole(path, "".join(json.dumps(record) + "\n" for record in [*kept, *records]))
