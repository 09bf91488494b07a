"""Take the authors' released files into the user's catalog, as model files of ours."""

import re
from pathlib import Path

from sparnet.errors import WeightsError
from sparnet.export import describe, export_onnx
from sparnet.network.official import load_official
from sparnet.weights.catalog import (
    SUFFIX,
    CatalogEntry,
    describe_file,
    read_catalog,
    shipped_models,
    write_catalog,
)
from sparnet.weights.folders import user_cache_folder

OFFICIAL_TERMS = "CC BY-NC-SA 4.0 (the authors')"


def import_official(file: Path, *, name: str, upscale_factor: int = 8) -> CatalogEntry:
    """Turn a released `.pth` file into a model file in the user's folder, known by `name`.

    Args:
        file: The released file.
        name: What it will be called.
        upscale_factor: The factor that a 128 px network was trained for, which its file does not say.

    Returns:
        Its entry in the user's catalog.

    Raises:
        WeightsError: If the file is not one of the released kind, the name is taken by a model we
            ship or is no plain name, or the user's folder cannot be written to.
    """
    if name in shipped_models():
        raise WeightsError(f"{name} is a model that comes with sparnet; give another --name")
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise WeightsError(f"{name!r} is no name for a model; give a --name of letters, digits and .-_+")
    network = load_official(file)
    tiny = network.config.image_size < 512
    info = describe(
        network,
        name=name,
        task="upscale" if tiny else "restore",
        upscale_factor=upscale_factor if tiny else None,
        license=OFFICIAL_TERMS,
        trained_on="CelebA" if tiny else "FFHQ",
        recipe=f"the authors' release, {file.name}",
    )
    folder = user_cache_folder()
    path = folder / f"{name}{SUFFIX}"
    catalog = read_catalog(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        export_onnx(network, path, info)
        entry = describe_file(path, info)
        write_catalog(folder, catalog.model_copy(update={"models": catalog.models | {name: entry}}))
    except OSError as error:
        raise WeightsError(f"{folder}: {name} cannot be written there ({error.strerror})") from None
    return entry
