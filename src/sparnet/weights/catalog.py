"""The models that are known by name: those we ship, and those the user took in."""

import functools
import hashlib
import json
import os
from pathlib import Path

from pydantic import Field, ValidationError

from sparnet.config import Config
from sparnet.errors import WeightsError
from sparnet.files import write_whole
from sparnet.weights.auxiliary import check_sha256
from sparnet.weights.folders import (
    expand_user,
    locate_weights_file,
    named_weights_folder,
    user_cache_folder,
    weights_folders,
)
from sparnet.weights.info import ModelInfo
from sparnet.weights.seal import check_seal

SHIPPED_FOLDER = Path(__file__).parent
SUFFIX = ".onnx"
CATALOG_FILE = "catalog.json"
DEFAULT_UPSCALE = "sparnet-x8"
FINER_UPSCALE = "sparnet-x4"
"""Takes over from the default for faces that are larger, smaller or not clean."""
DEFAULT_SMALL_FACES = FINER_UPSCALE
"""Enlarges the small faces of photos before they are restored."""
DEFAULT_RESTORE = "sparnet-hd-light"
_NOT_INSTALLED = {16: "models/sparnet-x16.onnx"}
"""Models by factor that the repository holds and an installation does not."""


class CatalogEntry(Config):
    """A model that is known by name."""

    file: str = Field(pattern=r"^[^/\\:]+$")
    """The file's name, without folders."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Hash of the whole file; it is checked whenever the model is loaded."""
    bytes: int
    """The file's size."""
    info: ModelInfo
    """What the file says of itself."""


def describe_file(path: Path, info: ModelInfo) -> CatalogEntry:
    """Describe a model file as the catalog has it.

    Args:
        path: The file.
        info: What it says of itself.

    Raises:
        OSError: If it cannot be read.
    """
    content = path.read_bytes()
    return CatalogEntry(
        file=path.name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), info=info
    )


class Catalog(Config):
    """Models by name."""

    models: dict[str, CatalogEntry] = {}


def read_catalog(folder: Path) -> Catalog:
    """Read a folder's catalog; empty where there is none.

    Raises:
        WeightsError: If the file is not a catalog.
    """
    path = folder / CATALOG_FILE
    try:
        return Catalog.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Catalog()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValidationError, UnicodeDecodeError):
        raise WeightsError(f"{path}: damaged; remove it and import the models again") from None


def write_catalog(folder: Path, catalog: Catalog) -> None:
    """Write a folder's catalog, by rename.

    Raises:
        OSError: If it cannot be written.
    """
    text = json.dumps(catalog.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    write_whole(folder / CATALOG_FILE, text)


@functools.cache
def shipped_models() -> dict[str, CatalogEntry]:
    """List the models that come with the package."""
    return read_catalog(SHIPPED_FOLDER).models


def imported_models() -> dict[str, CatalogEntry]:
    """List the models that the user took in by `sparnet models import`; none if there is no such folder."""
    folder = user_cache_folder()
    return read_catalog(folder).models if os.path.isdir(folder) else {}  # noqa: PTH112 - Path's may raise


def known_models() -> dict[str, CatalogEntry]:
    """List all models known by name, shipped ones first; they win over imported ones of the same name."""
    shipped = shipped_models()
    imported = {name: entry for name, entry in imported_models().items() if name not in shipped}
    return shipped | imported


def locate_model(entry: CatalogEntry) -> Path | None:
    """Return where a known model's file lies, or None if it is not there.

    What was imported under the name of a shipped model does not stand in for it.
    """
    if entry not in shipped_models().values():
        return locate_weights_file(entry.file)
    folders = [*named_weights_folder(), SHIPPED_FOLDER]
    return next((path for folder in folders if (path := folder / entry.file).is_file()), None)


def find_model(name_or_path: str | Path) -> Path:
    """Return the file of a model, which is what the catalog, or its own end, says it is.

    Args:
        name_or_path: A name of the catalog, or the path of a model file.

    Raises:
        WeightsError: If there is no such model or file, or its hash is wrong.
    """
    name = str(name_or_path)
    known = known_models()
    if name in known:
        entry = known[name]
        path = locate_model(entry)
        if path is None:
            searched = " and ".join(str(folder) for folder in weights_folders())
            remedy = "reinstall sparnet" if name in shipped_models() else "import it again"
            raise WeightsError(f"{name}: its file {entry.file} is missing from {searched}; {remedy}")
        check_sha256(path, entry.sha256)
        return path
    path = expand_user(name_or_path)
    if path.is_file():
        check_seal(path)
        return path
    if path.suffix == SUFFIX or len(path.parts) > 1:
        raise WeightsError(f"{name}: no such model file")
    raise WeightsError(f"no model '{name}'; have: {', '.join(known) or 'none'} (or name a model file)")


def model_for_factor(upscale_factor: int) -> str:
    """Choose the model that enlarges by a factor.

    Raises:
        WeightsError: If none of the known ones does.
    """
    known = known_models()
    fitting = [name for name, entry in known.items() if entry.info.upscale_factor == upscale_factor]
    preferred = f"sparnet-x{upscale_factor}"
    if preferred in fitting:
        return preferred
    if fitting:
        return fitting[0]
    have = ", ".join(
        f"{name} (x{e.info.upscale_factor})" for name, e in known.items() if e.info.upscale_factor
    )
    beside = _NOT_INSTALLED.get(upscale_factor)
    remedy = "Name another factor, or the file of a model that does"
    if beside is not None:
        remedy = f"The repository has one: name its file, {beside}, as the model"
    raise WeightsError(f"no model enlarges x{upscale_factor}; have: {have or 'none'}. {remedy}")
