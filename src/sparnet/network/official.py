"""The authors' released weight files: their names, and how their architecture is read off them.

The layout is a fact of the files (release v0.1.0 of chaofengc/Face-SPARNet); no code of theirs is
used. The files themselves are CC BY-NC-SA 4.0.
"""

import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, cast

import torch
from torch import Tensor

from sparnet.errors import WeightsError
from sparnet.network.attention import Hourglass
from sparnet.network.config import Activation, NetworkConfig, Norm
from sparnet.network.generator import SPARNet

_STAGES = {"encoder": "encoder", "body": "res_layers", "decoder": "decoder"}
_UNIT_PARTS = {
    "shortcut.conv": "shortcut_func.conv2d",
    "branch.norm": "preact_func.0.norm",
    "branch.activation": "preact_func.1.func",
    "branch.conv1.scale_conv.conv": "conv1.conv2d",
    "branch.conv1.norm": "conv1.norm.norm",
    "branch.conv1.activation": "conv1.relu.func",
    "branch.conv2.scale_conv.conv": "conv2.conv2d",
    "branch.conv2.norm": "conv2.norm.norm",
    "attention.output.conv": "att_func.out_block.0.conv2d",
}
_BLOCK_PARTS = {"scale_conv.conv": "conv2d", "norm": "norm.norm", "activation": "relu.func"}
_BODY_PX: dict[str, int] = {"batch": 16, "instance": 32, "none": 16}
"""Side of the body's maps: the batch-normalised networks are for 128 px, SPARNetHD for 512."""
_MOST_NAMES = 5
UNREADABLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)
"""What `load_tensors` raises on damaged files, besides OSError."""
_LONGEST_NAME = 200
_PICKLES = 5


def load_official(source: str | Path | Mapping[str, Tensor], *, image_size: int | None = None) -> SPARNet:
    """Make a network from one of the authors' released files.

    The architecture (2D or 3D attention, light or full, LeakyReLU or PReLU, SPARNet or SPARNetHD)
    is found from the tensors. Spectral norm is folded with the stored vectors.

    Args:
        source: Path of a `.pth` file, or its state dict.
        image_size: Side of the output in px, which the tensors cannot tell; None takes that of the
            releases: 512 for a network with instance norm, else 128.

    Returns:
        The network in evaluation mode, taking and giving RGB in [-1, 1].

    Raises:
        WeightsError: If the file is no such file; one line says what is missing, extra or
            misshapen. Pickled code is never run.
    """
    name = "state dict" if isinstance(source, Mapping) else str(source)
    tensors = source if isinstance(source, Mapping) else read_pth(Path(source))
    tensors = _fold(_without_prefix(_only_tensors(tensors, name)), name)
    config = _infer_config(tensors, name, image_size)
    with torch.device("meta"):
        network = SPARNet(config)
    _fill(network, tensors, name)
    return network.eval()


def load_tensors(file: io.BufferedIOBase) -> object:
    """Load what torch has saved, refusing anything that would run code.

    Names of classes are looked at first: torch's message about one it refuses takes time that grows with
    the square of the name's length, so that a small file could keep it busy for hours.

    Raises:
        pickle.UnpicklingError: If it holds more than tensors and plain values.
        OSError: If it cannot be read.
        Exception: One of `UNREADABLE`, if it is damaged.
    """
    for name in _class_names(file):
        if len(name) > _LONGEST_NAME:
            raise pickle.UnpicklingError(f"a name of {len(name)} letters")
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice about odd pickles; they are refused
        return torch.load(cast("IO[bytes]", file), map_location="cpu", weights_only=True)


def _class_names(file: io.BufferedIOBase) -> Iterator[str]:
    """Yield the names that the pickles of a file ask for."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                pickles = [archive.open(name) for name in archive.namelist() if name.endswith(".pkl")]
                for each in pickles:
                    yield from _names_in(cast("io.BufferedIOBase", each))
            return
        file.seek(0)
        for _ in range(_PICKLES):  # the format before: a number, a version, the system, the tensors, keys
            yield from _names_in(file)
    except (*UNREADABLE, NotImplementedError, zlib.error):
        return  # damaged: torch says how


def _names_in(file: io.BufferedIOBase) -> Iterator[str]:
    for operation, argument, _ in pickletools.genops(cast("IO[bytes]", file)):
        is_text = "STRING" in operation.name or "UNICODE" in operation.name
        if operation.name in ("GLOBAL", "INST") or (is_text and len(str(argument)) > _LONGEST_NAME):
            yield str(argument)


def read_pth(path: Path) -> Mapping[str, object]:
    """Read a `.pth` file of plain tensors, refusing anything that would run code.

    Raises:
        WeightsError: If the file is missing, damaged, or holds more than tensors.
    """
    try:
        with path.open("rb") as file:
            content = load_tensors(file)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    except pickle.UnpicklingError:
        raise WeightsError(f"{path}: not a plain file of tensors, or one that holds code; refused") from None
    except UNREADABLE:
        raise WeightsError(f"{path}: not a .pth file, or a damaged one") from None
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: expected a dict of tensors, got {type(content).__name__}")
    if not all(isinstance(key, str) and key.isprintable() for key in content):
        raise WeightsError(f"{path}: expected a dict of tensors, but it has a key that is no name")
    return content


def to_official(network: SPARNet) -> dict[str, Tensor]:
    """Return a network's tensors under the released names: the inverse of `load_official`."""
    return {official_name(name, network): tensor for name, tensor in network.state_dict().items()}


def official_name(name: str, network: SPARNet) -> str:
    """Translate the name of one of our tensors into the released one."""
    if match := re.fullmatch(r"stem\.conv\.(\w+)", name):
        return f"encoder.0.conv2d.{match[1]}"
    if match := re.fullmatch(r"output\.conv\.(\w+)", name):
        return f"out_conv.conv2d.{match[1]}"
    match = re.fullmatch(r"(encoder|body|decoder)\.(\d+)\.(.+)\.(\w+)", name)
    if match is None:
        raise ValueError(f"{name}: not the name of a tensor of SPARNet")
    stage, index, part, leaf = match[1], int(match[2]), match[3], match[4]
    unit = f"{_STAGES[stage]}.{index + (stage == 'encoder')}"
    if part in _UNIT_PARTS:
        return f"{unit}.{_UNIT_PARTS[part]}.{leaf}"
    hourglass = getattr(network, stage)[index].attention
    levels = _count_levels(hourglass)
    return f"{unit}.att_func.{_hourglass_name(part, levels)}.{leaf}"


def _count_levels(attention: torch.nn.Module) -> int:
    levels, module = 0, attention.get_submodule("hourglass")
    while isinstance(module, Hourglass):
        levels, module = levels + 1, module.inner
    return levels


def _hourglass_name(part: str, levels: int) -> str:
    """Translate `attention.hourglass.inner.inner.up.norm` into `b3_L.norm.norm`."""
    path = part.removeprefix("attention.hourglass.").split(".")
    depth = 0
    while path[0] == "inner" and path[1] in ("inner", "skip", "down", "up"):
        depth, path = depth + 1, path[1:]
    level = levels - depth
    block = {"skip": f"b1_{level}", "down": f"b2_{level}", "up": f"b3_{level}", "inner": "b2_plus_1"}
    return f"{block[path[0]]}.{_BLOCK_PARTS['.'.join(path[1:])]}"


def _only_tensors(content: Mapping[str, object], name: str) -> dict[str, Tensor]:
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if len(tensors) < len(content) or not tensors:
        odd = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
        found = f"{odd[0]} is no tensor" if odd else "it is empty"
        raise WeightsError(f"{name}: expected a dict of tensors as the authors released, but {found}")
    return tensors


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(key.startswith("module.") for key in tensors):
        return {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def _fold(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Replace `weight_orig, weight_u, weight_v` by the weight: `W / (u . (W2d v))`, u and v as stored."""
    folded = {}
    for key, value in tensors.items():
        if key.endswith("weight_orig"):
            u, v = tensors.get(key[:-4] + "u"), tensors.get(key[:-4] + "v")
            if (
                u is None
                or v is None
                or u.numel() != value.shape[0]
                or v.numel() * u.numel() != value.numel()
            ):
                raise WeightsError(f"{name}: {key} lacks fitting weight_u and weight_v beside it")
            weight = value.double()
            sigma = torch.dot(u.double().flatten(), weight.reshape(len(weight), -1) @ v.double().flatten())
            folded[key.removesuffix("_orig")] = (weight / sigma).float()
        elif not key.endswith(("weight_u", "weight_v")):
            folded[key] = value.float() if value.is_floating_point() else value
    return folded


def _infer_config(tensors: dict[str, Tensor], name: str, image_size: int | None) -> NetworkConfig:
    """Read the architecture off names and shapes."""
    stem = tensors.get("encoder.0.conv2d.weight")
    counts = {stage: _count_units(tensors, released) for stage, released in _STAGES.items()}
    encoder, body, decoder = counts["encoder"] - 1, counts["body"], counts["decoder"]
    if stem is None or stem.ndim != 4 or encoder < 1 or encoder != decoder:
        raise WeightsError(
            f"{name}: not one of the authors' SPARNet files: expected encoder.0.conv2d.weight and as many "
            f"encoder units as decoder units, got {encoder if stem is not None else 'no'} and {decoder}"
        )
    norm = _infer_norm(tensors)
    body_px = _BODY_PX[norm] if image_size is None else image_size // 2**encoder
    units = (
        [(f"encoder.{i + 1}", body_px * 2 ** (encoder - i - 1)) for i in range(encoder)]
        + [(f"res_layers.{i}", body_px) for i in range(body)]
        + [(f"decoder.{i}", body_px * 2 ** (i + 1)) for i in range(decoder)]
    )
    levels = [_levels_of(tensors, unit) for unit, _ in units]
    widest = max(
        (t.shape[0] for k, t in tensors.items() if k.endswith("conv1.conv2d.weight") and t.ndim == 4),
        default=stem.shape[0],
    )
    choices: dict[str, object] = {
        "image_size": body_px * 2**encoder,
        "body_size": body_px,
        "body_units": body,
        "base_channels": stem.shape[0],
        "max_channels": widest,
        "norm": norm,
        "activation": _infer_activation(tensors, "preact_func.1.func.weight"),
        "attention": "none",
    }
    if any(levels):
        choices |= _infer_attention(tensors, units, levels)
    try:
        return NetworkConfig.model_validate(choices)
    except ValueError as error:
        reason = str(error).splitlines()[-1] if "\n" not in str(error) else str(error).splitlines()[2].strip()
        raise WeightsError(f"{name}: no SPARNet has this architecture ({reason})") from None


def _count_units(tensors: dict[str, Tensor], stage: str) -> int:
    found = {int(m[1]) for key in tensors if (m := re.match(rf"{stage}\.(\d+)\.", key))}
    return len(found)


def _infer_norm(tensors: dict[str, Tensor]) -> Norm:
    if any(key.endswith("conv1.norm.norm.running_mean") for key in tensors):
        return "batch"
    return "instance" if any(key.endswith("conv1.norm.norm.weight") for key in tensors) else "none"


def _infer_activation(tensors: dict[str, Tensor], suffix: str) -> Activation:
    slopes = [value for key, value in tensors.items() if key.endswith(suffix)]
    if not slopes:
        return "leaky_relu"
    return "prelu_shared" if all(slope.numel() == 1 for slope in slopes) else "prelu"


def _levels_of(tensors: dict[str, Tensor], unit: str) -> int:
    pattern = re.compile(re.escape(unit) + r"\.att_func\.b1_(\d+)\.")
    return max((int(m[1]) for key in tensors if (m := pattern.match(key))), default=0)


def _infer_attention(
    tensors: dict[str, Tensor], units: list[tuple[str, int]], levels: list[int]
) -> dict[str, object]:
    last_unit, last_size = next((u, s) for (u, s), n in zip(units[::-1], levels[::-1], strict=True) if n)
    smallest = last_size // 2 ** _levels_of(tensors, last_unit)
    output = tensors.get(f"{last_unit}.att_func.out_block.0.conv2d.weight")
    hidden = tensors.get(f"{last_unit}.att_func.b1_1.conv2d.weight")
    maps = 1 if output is None else output.shape[0]
    # Units at the smallest size have no attention anyway; others without it bound "V" from below.
    without = [
        i for i, ((_, size), n) in enumerate(zip(units, levels, strict=True)) if n == 0 and size > smallest
    ]
    inner = [key for key in tensors if re.search(r"att_func\.b\w+\.relu\.func\.weight$", key)]
    return {
        "attention": "spatial" if maps == 1 else "channelwise",
        "attention_units": len(units) - 1 - max(without) if without else None,
        "attention_smallest_size": smallest,
        "attention_channels": 64 if hidden is None else hidden.shape[0],
        "attention_activation": (
            _infer_activation({key: tensors[key] for key in inner}, ".weight") if inner else "leaky_relu"
        ),
    }


def _fill(network: SPARNet, tensors: dict[str, Tensor], name: str) -> None:
    """Copy the tensors into the network, or say in one line what does not fit."""
    wanted = {official_name(key, network): key for key in network.state_dict()}
    mine = network.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = [key for key in wanted if key not in tensors and key not in counters]
    extra = [key for key in tensors if key not in wanted]
    misshapen = [
        f"{key} is {tuple(tensors[key].shape)}, the network has {tuple(mine[own].shape)}"
        for key, own in wanted.items()
        if key in tensors and tensors[key].shape != mine[own].shape
    ]
    complaints = [
        f"{len(found)} {kind} ({', '.join(found[:_MOST_NAMES])}{', ...' if len(found) > _MOST_NAMES else ''})"
        for kind, found in (
            ("missing", missing),
            ("not in the network", extra),
            ("of another shape", misshapen),
        )
        if found
    ]
    if complaints:
        raise WeightsError(f"{name} does not fit the network: {'; '.join(complaints)}")
    zero = torch.zeros((), dtype=torch.long)
    filled = {own: tensors.get(key, zero).clone() for key, own in wanted.items()}
    network.load_state_dict(filled, assign=True)
