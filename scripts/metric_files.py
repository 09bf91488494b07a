r"""Make the weights that metrics and losses look through out of what others publish, byte for byte.

    python scripts/metric_files.py -o DIR alexnet-owt-7be5be79.pth vgg16-397923af.pth lpips-*.whl

The first two are torchvision's networks for ImageNet, at https://download.pytorch.org/models/; of them
the convs are kept, in fp16. The third is the package lpips (`pip download --no-deps lpips==0.1.4`), whose
linear layers are taken. Any of the three will do alone. Each file is written only if it is the one that
`sparnet` knows by its hash; then name its folder in SPARNET_WEIGHTS.
"""

import argparse
import hashlib
import io
import json
import struct
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from sparnet.files import write_whole
from sparnet.weights.auxiliary import AUXILIARY_FILES

FEATURES = {
    "alexnet": {"licence": "BSD-3-Clause", "source": "torchvision alexnet, features only"},
    "vgg16": {"source": "torchvision vgg16-397923af, features only", "licence": "BSD-3-Clause"},
}
LINEAR = {"lpips_alex": "alex", "lpips_vgg16": "vgg"}
LINEAR_METADATA = {"source": "LPIPS v0.1 linear layers", "licence": "BSD-2-Clause"}


def files_of(path: Path) -> dict[str, bytes]:
    """Make the files that a published one holds the weights of, by their names in `AUXILIARY_FILES`."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return {
                key: encode(linear_layers(wheel.read(f"lpips/weights/v0.1/{name}.pth")), LINEAR_METADATA)
                for key, name in LINEAR.items()
            }
    key = next((key for key in FEATURES if path.name.startswith(key)), None)
    if key is None:
        raise SystemExit(f"{path}: expected alexnet-*.pth, vgg16-*.pth or lpips-*.whl")
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    kept = {name: tensor.half() for name, tensor in tensors.items() if name.startswith("features.")}
    return {key: encode(kept, FEATURES[key])}


def linear_layers(encoded: bytes) -> dict[str, Tensor]:
    """Read the layers `lin0` to `lin4` of a file of LPIPS."""
    tensors = torch.load(io.BytesIO(encoded), map_location="cpu", weights_only=True)
    return {name.replace(".model.1.", "."): tensor for name, tensor in tensors.items()}


def encode(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Encode tensors as safetensors, the metadata in their own order, which that library leaves to chance."""
    plain = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    (length,) = struct.unpack("<Q", plain[:8])
    header = json.dumps(
        {"__metadata__": metadata, **json.loads(plain[8 : 8 + length])}, separators=(",", ":")
    )
    padded = header.encode().ljust(-(-len(header) // 8) * 8)
    return struct.pack("<Q", len(padded)) + padded + plain[8 + length :]


def main() -> int:
    """Write what can be made of the files that are named; say what could not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("published", nargs="+", type=Path, help="torchvision's .pth, or the wheel of lpips")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write to")
    options = parser.parse_args()
    failed = False
    options.output.mkdir(parents=True, exist_ok=True)
    for path in options.published:
        for key, encoded in files_of(path).items():
            known = AUXILIARY_FILES[key]
            if hashlib.sha256(encoded).hexdigest() != known.sha256:
                print(f"{path}: makes another {known.name} than the one that is known", file=sys.stderr)
                failed = True
                continue
            target = options.output / known.name
            write_whole(target, encoded)
            print(target)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
