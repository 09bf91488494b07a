"""Feed damaged and malicious files to everything that reads files, and watch what happens.

    python benchmarks/fuzz.py --inputs 100000 --json fuzz.json

Small real files are mutated: bits flipped, bytes set, cut short, pieces taken out, doubled or put in
from other files, numbers that may be lengths replaced. Half of the mutants get their checksums made
right again (PNG's chunks, the seal of a model file, the sums of a zip archive), so that what lies
behind the checksum is reached too. Input number `i` of a target follows from the seed and `i` alone:
`--target pictures --first 4711 --inputs 1` repeats one.

Each target runs in a process of its own. A reader may return, or raise one of the classes of
`sparnet.errors`. It is a finding if it

- raises anything else,
- brings the process down (the input that did is named),
- takes over 10 seconds of processor time, or a minute by the clock,
- takes over 2 GB of memory,
- runs code: starts a process, opens a connection, unpickles a class, or writes, moves or removes a file.

Findings are counted by their kind and place and printed; with `--keep DIR` one input of each is
written there. Exit code 1 if there is any.
"""

import argparse
import contextlib
import io
import json
import os
import pickle
import random
import resource
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
HANG_SECONDS, BLOCKED_SECONDS = 10, 60
MEMORY_BYTES = 2 * 1024**3
SHARES = {
    "pictures": 0.58, "recipes": 0.18, "packs": 0.06, "catalogs": 0.08, "videos": 0.03, "models": 0.03,
    "pth": 0.04,
}  # fmt: skip
"""What part of the inputs each target gets."""
MUTANT_PIXELS = 4_000_000
"""Pictures that say they have more are refused: decoding large ones is slow, not dangerous."""
_NUMBERS = (0, 1, 2, 3, 7, 8, 12, 127, 128, 255, 256, 4095, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1,
            2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1)  # fmt: skip
_FORBIDDEN = frozenset({
    "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn",
    "socket.connect", "socket.bind", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod",
    "os.symlink", "os.link", "os.truncate", "shutil.rmtree", "pickle.find_class",
})  # fmt: skip
_WORDS = (
    b"nan", b"inf", b"-1", b"1e999", b"0", b"true", b'""', b"[]", b"{}", b"[[[[", b"99999999999999999999999",
    b"'''", b'"\\u0000"', b"1979-05-27T07:32:00Z", b"[train]", b'preset = "sparnet-hd"', b"\n", b"=", b".",
    b'extends = "recipe.toml"', b'extends = "/dev/zero"', b'extends = "nul\\u0000l"', b"[[a]]", b"0x10",
    b"null", b'"1"', b"'", b'"', b"#", b"\xff\xfe", b"\xef\xbb\xbf", b"=1\n", b"[" * 3000, b"a=[" * 400,
    b"{a=" * 900, b"base_channels = 100000000", b"image_size = 1073741824", b"body_units = 100000000",
)  # fmt: skip
"""Pieces of text that readers of text stumble over."""


class BrokenRule(BaseException):
    """Code was run. Not an Exception, so that no reader can swallow it."""


# Mutants


def mutated(chance: random.Random, corpus: Sequence[bytes], *, words: Sequence[bytes] = ()) -> bytes:
    """Return one of the files of a corpus with one to four things wrong."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        if not data:
            break
        _CHANGES[chance.randrange(len(_CHANGES))](chance, data, corpus)
        if words and chance.random() < 0.5:
            at = chance.randint(0, len(data))
            data[at : at + chance.choice((0, 0, 1, 4))] = chance.choice(words)
    return bytes(data)


def _place(chance: random.Random, data: bytearray) -> int:
    """Choose a byte, every second time one near the beginning, where files say what they are."""
    end = min(len(data), 256) if chance.random() < 0.5 else len(data)
    return chance.randrange(end)


def _flip_bits(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    for _ in range(chance.choice((1, 1, 2, 8, 32))):
        data[_place(chance, data)] ^= 1 << chance.randrange(8)


def _set_bytes(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    at, value = _place(chance, data), chance.choice((0, 0xFF, 0x7F, 0x80, chance.randrange(256)))
    for index in range(at, min(len(data), at + chance.choice((1, 1, 2, 4, 16, 200)))):
        data[index] = value


def _set_number(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    size = chance.choice((2, 4, 4, 8))
    value = (chance.choice(_NUMBERS) + chance.choice((0, 0, 0, -1, 1))) % 2 ** (8 * size)
    at = _place(chance, data)
    data[at : at + size] = value.to_bytes(size, chance.choice(("big", "little")))


def _cut_short(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    del data[_place(chance, data) :]


def _take_out(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    at = _place(chance, data)
    del data[at : at + chance.choice((1, 2, 4, 16, len(data) // 4 + 1))]


def _double(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del corpus
    at = _place(chance, data)
    piece = data[at : at + chance.choice((1, 4, 16, 300))]
    data[at:at] = piece * chance.choice((1, 1, 2, 50))


def _splice(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    other = chance.choice(corpus)
    start, at = chance.randrange(len(other) or 1), _place(chance, data)
    length = chance.choice((4, 16, 100, len(other)))
    data[at : at + chance.choice((0, length))] = other[start : start + length]


_CHANGES = (_flip_bits, _set_bytes, _set_number, _cut_short, _take_out, _double, _splice)


def with_png_sums(data: bytes) -> bytes:
    """Make the checksums of a PNG's chunks right again, as far as there are chunks."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    fixed, at = bytearray(data), 8
    while at + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, at)
        if at + 12 + length > len(fixed):
            break
        struct.pack_into(">I", fixed, at + 8 + length, zlib.crc32(fixed[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(fixed)


def zip_again(chance: random.Random, whole: bytes, corpus: Sequence[bytes]) -> bytes:
    """Mutate one member of a zip archive and pack it with right sums; mostly the pickle in it."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        pickles = [name for name in names if name.endswith(".pkl")]
        victim = chance.choice(pickles if pickles and chance.random() < 0.7 else names)
        for name in names:
            content = old.read(name)
            if name == victim:
                content = mutated(chance, [content, *corpus[:1]] if chance.random() < 0.1 else [content])
            new.writestr(name, content)
    return made.getvalue()


# Targets


class Target:
    """Something that reads files: its corpus, its mutants, and how to have it read one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpus = self.collect()
        self.path = folder / "input"

    def collect(self) -> list[bytes]:
        """Return small files that are whole."""
        raise NotImplementedError

    def wholes(self) -> list[bytes]:
        """Return what `place` puts there for the files that are whole."""
        return self.corpus

    def make(self, chance: random.Random) -> bytes:
        """Return a damaged file."""
        return mutated(chance, self.corpus)

    def place(self, data: bytes) -> None:
        """Put a file where it is read from."""
        self.path.write_bytes(data)

    def read(self) -> None:
        """Read it by all readers there are for its kind."""
        raise NotImplementedError


class Pictures(Target):
    """`read_photo`: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC."""

    def collect(self) -> list[bytes]:
        """Encode a small photo in every format, with EXIF, XMP and a profile in some."""
        import numpy as np
        from PIL import Image, ImageCms, features

        face = Image.open(ROOT / "examples" / "faces" / "0.webp").convert("RGB").resize((40, 48))
        gray, clear = face.convert("L"), face.convert("RGBA")
        clear.putalpha(gray)
        deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
        exif = Image.Exif()
        exif[271], exif[274], exif[306] = "maker", 6, "2020:01:01 00:00:00"
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        extra = {"exif": exif.tobytes(), "icc_profile": profile}
        kinds: list[tuple[Image.Image, str, dict]] = [
            (face, "JPEG", {}), (face, "JPEG", {"progressive": True, **extra}), (gray, "JPEG", {}),
            (face.convert("CMYK"), "JPEG", {}), (face, "PNG", {}), (clear, "PNG", extra), (deep, "PNG", {}),
            (face.quantize(16), "PNG", {}), (gray.convert("1"), "PNG", {}), (face, "WEBP", {}),
            (clear, "WEBP", {"lossless": True, **extra}), (face, "TIFF", {}), (deep, "TIFF", {}),
            (clear, "TIFF", {"compression": "tiff_lzw"}),
            (face, "TIFF", {"compression": "tiff_adobe_deflate"}),
            (face, "TIFF", {"compression": "jpeg"}), (gray.convert("1"), "TIFF", {"compression": "group4"}),
            (face.quantize(32), "TIFF", {"compression": "packbits"}), (face, "BMP", {}),
            (face.quantize(8), "BMP", {}), (face, "GIF", {}),
            (face, "GIF", {"save_all": True, "append_images": [face.rotate(90)]}),
        ]  # fmt: skip
        if features.check("avif"):
            kinds.append((face, "AVIF", {"speed": 10}))
        try:
            import pillow_heif

            pillow_heif.register_heif_opener()
            kinds.append((face, "HEIF", {}))
        except ModuleNotFoundError:
            pass
        files = []
        for picture, kind, options in kinds:
            file = io.BytesIO()
            picture.save(file, kind, **options)
            files.append(file.getvalue())
        return files

    def make(self, chance: random.Random) -> bytes:
        """Mutate; half of the PNG files get right sums."""
        data = super().make(chance)
        return with_png_sums(data) if chance.random() < 0.5 else data

    def read(self) -> None:
        """Read it as a photo."""
        from sparnet.image import read_photo

        read_photo(self.path, max_pixels=MUTANT_PIXELS)


class Recipes(Target):
    """`load_recipe`, and the values that `--set` changes."""

    def collect(self) -> list[bytes]:
        """Take the recipes that come along."""
        self.inner = self.folder / "recipe.toml"
        self.inner.write_bytes((ROOT / "recipes" / "smoke.toml").read_bytes())
        return [path.read_bytes() for path in sorted((ROOT / "recipes").glob("*.toml"))]

    def make(self, chance: random.Random) -> bytes:
        """Mutate bytes, and put words in that readers stumble over."""
        return mutated(chance, self.corpus, words=_WORDS)

    def read(self) -> None:
        """Read it as a recipe; its lines as assignments."""
        from sparnet.errors import SparnetError
        from sparnet.training.recipe import load_recipe

        lines = self.path.read_bytes().decode(errors="replace").splitlines()[3:6]
        with contextlib.suppress(SparnetError):
            load_recipe(self.inner, tuple(lines))
        load_recipe(self.path)


class Models(Target):
    """Model files: the seal, the three readers behind it."""

    def collect(self) -> list[bytes]:
        """Make a small model, once for all processes."""
        path = self.folder / "small.onnx"
        if not path.is_file():
            write_small_model(path)
        self.whole = path.read_bytes()
        return [self.whole]

    def make(self, chance: random.Random) -> bytes:
        """Mutate; half of them are sealed anew, so that they reach the readers of ONNX."""
        from sparnet.weights.seal import seal

        if chance.random() < 0.5:
            return mutated(chance, self.corpus)
        unsealed = self.whole[: -len(seal(b""))]
        # Most of a model is weights, of which any value is good: aim at the structure before and after.
        return seal(mutated(chance, [unsealed, unsealed[:4000] + unsealed[-3000:]]))

    def read(self) -> None:
        """Load it as each engine does."""
        from sparnet.engine.openvino import OpenvinoEngine
        from sparnet.errors import SparnetError
        from sparnet.network.files import read_model_file
        from sparnet.weights.catalog import find_model

        path = find_model(self.path)
        for reader in (read_model_file, OpenvinoEngine, _onnxruntime_engine):
            try:
                reader(path)
            except SparnetError:
                continue


def _onnxruntime_engine(path: Path) -> None:
    try:
        from sparnet.engine.onnxruntime import OnnxruntimeEngine
    except ModuleNotFoundError:
        return
    OnnxruntimeEngine(path)


class Pth(Target):
    """The authors' released `.pth` files, and pickles that want to run code."""

    def collect(self) -> list[bytes]:
        """Write released layouts with few channels, in both formats of torch, and malicious pickles."""
        import torch

        from sparnet.network.config import NetworkConfig
        from sparnet.network.generator import SPARNet
        from sparnet.network.official import to_official

        small = NetworkConfig(base_channels=2, max_channels=4, body_units=1, attention_channels=2)
        self.archives = []
        files = []
        for config in (small, small.model_copy(update={"attention": "channelwise", "activation": "prelu"})):
            tensors = {name: value.clone() for name, value in to_official(SPARNet(config)).items()}
            for modern in (True, False):
                file = io.BytesIO()
                torch.save(tensors, file, _use_new_zipfile_serialization=modern)
                files.append(file.getvalue())
                if modern:
                    self.archives.append(file.getvalue())
        return [*files, *files, *malicious_pickles(self.folder / "owned")]

    def make(self, chance: random.Random) -> bytes:
        """Mutate; every second archive keeps right sums around a mutated member."""
        if chance.random() < 0.5:
            return zip_again(chance, chance.choice(self.archives), self.corpus[-1:])
        return mutated(chance, self.corpus)

    def read(self) -> None:
        """Import it, but for writing the result."""
        from sparnet.network.official import load_official

        load_official(self.path)


class Packs(Target):
    """Packs of faces: index.csv and tars."""

    def collect(self) -> list[bytes]:
        """Pack three faces."""
        faces = sorted((ROOT / "examples" / "faces").glob("*.webp"))[:3]
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            for path in faces:
                archive.add(path, path.name)
        rows = "".join(f"{path.name},0,x,person{n},free,128\n" for n, path in enumerate(faces))
        self.index = f"file,shard,source,identity,terms,px\n{rows}".encode()
        self.tar = tar.getvalue()
        self.pack = self.folder / "pack"
        self.pack.mkdir(exist_ok=True)
        return [self.tar]

    def wholes(self) -> list[bytes]:
        """Return the tar."""
        return [b"T" + self.tar]

    def make(self, chance: random.Random) -> bytes:
        """Mutate the index, or the tar."""
        if chance.random() < 0.5:
            words = (*_WORDS, b",", b",,,,,,", b'"', b"\0", b"2,", b"-1", b"\r")
            return b"I" + mutated(chance, [self.index], words=words)
        return b"T" + mutated(chance, [self.tar])

    def place(self, data: bytes) -> None:
        """Write both files, of which one is damaged."""
        index, tar = (data[1:], self.tar) if data[:1] == b"I" else (self.index, data[1:])
        (self.pack / "index.csv").write_bytes(index)
        (self.pack / "faces-0.tar").write_bytes(tar)

    def read(self) -> None:
        """Read and decode the faces."""
        from sparnet.data.faces import decode_faces, read_faces

        decode_faces(read_faces(self.pack), smallest_px=64, largest_px=160, source=self.pack)


class Catalogs(Target):
    """The user's catalog of models, and saved states of a training."""

    def collect(self) -> list[bytes]:
        """Take the catalog that comes along, and a small state."""
        import torch

        from sparnet.training.state import TrainState

        state = TrainState(3, {"network": {"weight": torch.zeros(4)}, "other": {"step": 1}})
        self.state = state.save(self.folder).read_bytes()
        import sparnet

        return [(Path(sparnet.__file__).parent / "weights" / "catalog.json").read_bytes()]

    def wholes(self) -> list[bytes]:
        """Return both."""
        return [b"C" + self.corpus[0], b"S" + self.state]

    def make(self, chance: random.Random) -> bytes:
        """Mutate the catalog, or the state; half of the states get their right sum."""
        import hashlib

        if chance.random() < 0.5:
            return b"C" + mutated(chance, self.corpus, words=_WORDS)
        if chance.random() < 0.5:
            return b"S" + mutated(chance, [self.state])
        body = zip_again(chance, self.state[:-32], self.corpus)
        return b"S" + body + hashlib.sha256(body).digest()

    def place(self, data: bytes) -> None:
        """Write it under its name."""
        self.kind = data[:1]
        name = "catalog.json" if self.kind == b"C" else "state.pt"
        (self.folder / name).write_bytes(data[1:])

    def read(self) -> None:
        """Read it."""
        from sparnet.training.state import TrainState
        from sparnet.weights.catalog import read_catalog

        if self.kind == b"C":
            read_catalog(self.folder)
        else:
            TrainState.load(self.folder / "state.pt")


class Videos(Target):
    """Videos: opened, and all frames decoded."""

    def collect(self) -> list[bytes]:
        """Encode a second of video in several containers."""
        import av
        import numpy as np

        noise = np.random.default_rng(0)
        files = []
        for container, codec in (
            ("mp4", "libx264"),
            ("matroska", "libx264"),
            ("avi", "mpeg4"),
            ("webm", "libvpx"),
        ):
            file = io.BytesIO()
            with av.open(file, "w", format=container) as film:
                stream = film.add_stream(codec, rate=10)
                stream.width, stream.height, stream.pix_fmt = 48, 48, "yuv420p"
                for _ in range(6):
                    picture = np.kron(
                        noise.integers(0, 255, (6, 6, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)
                    )
                    film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
                film.mux(stream.encode(None))
            files.append(file.getvalue())
        return files

    def read(self) -> None:
        """Decode at most 100 frames, as the program does."""
        from contextlib import ExitStack
        from itertools import islice

        from sparnet.video import _Film

        with ExitStack() as stack:
            for frame in islice(_Film(self.path, stack).frames(), 100):
                if frame.width * frame.height <= MUTANT_PIXELS:
                    frame.reformat(format="rgb24").to_ndarray()


TARGETS: dict[str, type[Target]] = {
    "pictures": Pictures, "recipes": Recipes, "models": Models, "pth": Pth, "packs": Packs,
    "catalogs": Catalogs, "videos": Videos,
}  # fmt: skip


class _Runs:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def malicious_pickles(owned: Path) -> list[bytes]:
    """Return `.pth` files that make the file `owned` if their pickle is run, in every format of torch."""
    import torch

    command = f"touch {owned}"
    files = [pickle.dumps(_Runs(os.system, command), protocol) for protocol in (0, 2, 4)]
    for thing in (
        _Runs(os.system, command), _Runs(exec, f"open({str(owned)!r}, 'w')"),
        _Runs(eval, f"open({str(owned)!r}, 'w')"), _Runs(subprocess.call, ["touch", str(owned)]),
        _Runs(Path(owned).touch), {"weight": _Runs(os.system, command)},
    ):  # fmt: skip
        for modern in (True, False):
            file = io.BytesIO()
            torch.save(thing, file, _use_new_zipfile_serialization=modern)
            files.append(file.getvalue())
    return files


def write_small_model(path: Path) -> None:
    """Write a model file of a small network with random weights."""
    import torch

    from sparnet.export import describe, export_onnx
    from sparnet.network.config import NetworkConfig
    from sparnet.network.generator import SPARNet

    torch.manual_seed(0)
    config = NetworkConfig(
        base_channels=2, max_channels=4, body_size=64, body_units=1, attention_channels=2,
        attention_smallest_size=32,
    )  # fmt: skip
    network = SPARNet(config).eval()
    export_onnx(
        network, path, describe(network, name="small", task="upscale", upscale_factor=8, license="none")
    )


# The process that reads


def try_one(target: Target) -> str:
    """Read the file in place; return what is wrong, empty if nothing is."""
    from sparnet.errors import SparnetError

    try:
        target.read()
    except SparnetError as error:
        if not str(error) or "\n" in str(error):
            return f"a message that is not one line: {type(error).__name__}"
    except BrokenRule as broken:
        return f"ran code: {broken}"
    except Exception as error:  # noqa: BLE001 - this is what it looks for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "sparnet" in frame.filename]
        frame = (ours or frames)[-1]
        place = f"{Path(frame.filename).name}:{frame.name}"
        return f"{type(error).__name__} in {place}"
    return ""


def watch_for_code() -> Callable[..., None]:
    """Raise `BrokenRule` at what no reader may do; returns a switch for it."""
    is_armed = False

    def look(event: str, arguments: tuple) -> None:
        if not is_armed:
            return
        if event in _FORBIDDEN:
            raise BrokenRule(event)
        if event != "open" or len(arguments) < 2 or not isinstance(arguments[1], str):
            return
        if set(arguments[1]) & set("wax+") and "/dev/" not in str(arguments[0]):
            raise BrokenRule(f"open for writing: {arguments[0]}")

    def switch(*, armed: bool) -> None:
        nonlocal is_armed
        is_armed = armed

    sys.addaudithook(look)
    return switch


def peak_memory() -> int:
    """Return the most memory that this process has held, in bytes.

    The system's own account of resources begins with what the process that started this one held.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status does not tell the memory of this process")


def work(name: str, folder: Path, numbers: Sequence[int], seed: int, keep: Path | None) -> None:
    """Read inputs one by one; write one line for each to the pipe that is standard output."""
    report = os.fdopen(os.dup(1), "w", buffering=1)
    warnings.simplefilter("ignore")  # the advice of torch about odd pickles
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    if keep is None:
        os.dup2(null, 2)  # libtiff and others say what they think
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target = TARGETS[name](folder)
    for whole in target.wholes():  # so that all imports are made before code is watched for
        target.place(whole)
        if wrong := try_one(target):
            raise RuntimeError(f"{name}: a whole file is refused: {wrong}")
    resource.setrlimit(resource.RLIMIT_DATA, (2 * MEMORY_BYTES, 2 * MEMORY_BYTES))
    switch = watch_for_code()
    for number in numbers:
        data = target.make(random.Random(f"{seed}/{name}/{number}"))  # noqa: S311 - no secrets
        target.place(data)
        report.write(f"{number}\t")
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, BLOCKED_SECONDS)
        started = time.process_time()
        switch(armed=True)
        wrong = try_one(target)
        switch(armed=False)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        taken = time.process_time() - started
        memory = peak_memory()
        if (folder / "owned").exists():
            wrong = "ran code: the file of the malicious pickle is there"
            (folder / "owned").unlink()
        if not wrong and memory > MEMORY_BYTES:
            wrong = "took over 2 GB of memory"
        if wrong and keep is not None:
            (keep / f"{name}-{number}").write_bytes(data)
        report.write(json.dumps([wrong, round(taken, 3), memory // 2**20]) + "\n")
        if memory > MEMORY_BYTES:  # so that the next input is not blamed for it
            os._exit(0)


# The process that watches


def fuzz(
    name: str, numbers: Sequence[int], seed: int, *, folder: Path, keep: Path | None = None
) -> Iterator[tuple[int, str, float, int]]:
    """Try inputs in a process of their own, a new one after each that ends; yield what became of each.

    Yields:
        The input's number, what is wrong with it (empty if nothing), seconds, and the most memory in MB.
    """
    waiting = list(numbers)
    while waiting:
        command = [sys.executable, __file__, "--work", name, "--folder", str(folder), "--seed", str(seed)]
        command += ["--first", str(waiting[0]), "--inputs", str(len(waiting))]
        command += ["--keep", str(keep)] if keep is not None else []
        before = len(waiting)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            for line in process.stdout:
                number, _, rest = line.partition("\t")
                if not rest.strip():
                    break
                wrong, seconds, memory = json.loads(rest)
                waiting.pop(0)
                yield int(number), wrong, seconds, memory
        if process.returncode != 0 and waiting:
            ended = -process.returncode
            if ended in (signal.SIGPROF, signal.SIGALRM):
                wrong = f"took over {HANG_SECONDS} s"
            elif ended > 0:
                wrong = f"brought the process down ({signal.Signals(ended).name})"
            elif before == len(waiting):
                raise RuntimeError(f"{' '.join(command)} does not start")
            else:
                wrong = f"ended the process with {process.returncode}"
            yield waiting.pop(0), wrong, 0.0, 0
        elif before == len(waiting):
            raise RuntimeError(f"{' '.join(command)} does nothing")


def main() -> int:
    """Try all, print the findings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="in all, or of the one target")
    parser.add_argument("--target", choices=[*TARGETS])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="keep one input of each finding here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.inputs)
    if options.work:
        work(options.work, options.folder, numbers, options.seed, options.keep)
        return 0
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    plan = (
        {options.target: numbers}
        if options.target
        else {name: range(round(options.inputs * share)) for name, share in SHARES.items()}
    )
    figures: dict[str, dict] = {}
    for name, wanted in plan.items():
        figures[name] = _fuzz_target(name, wanted, options.seed, options.keep)
        if options.json is not None:
            options.json.write_text(json.dumps(figures, indent=2) + "\n")
    total = sum(each["inputs"] for each in figures.values())
    findings = sum(sum(each["findings"].values()) for each in figures.values())
    print(f"{total:,} inputs, {findings:,} findings")
    return 1 if findings else 0


def _fuzz_target(name: str, numbers: Sequence[int], seed: int, keep: Path | None) -> dict:
    findings: Counter[str] = Counter()
    examples: dict[str, int] = {}
    slowest, most, tried = 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for number, wrong, seconds, memory in fuzz(name, numbers, seed, folder=Path(folder), keep=keep):
            tried += 1
            slowest, most = max(slowest, seconds), max(most, memory)
            if wrong:
                findings[wrong] += 1
                if examples.setdefault(wrong, number) == number:
                    print(f"  {name} {number}: {wrong}", flush=True)
                elif keep is not None:
                    (keep / f"{name}-{number}").unlink(missing_ok=True)
    print(
        f"{name}: {tried:,} inputs, {sum(findings.values()):,} findings; slowest {slowest:.2f} s of "
        f"processor time, {most} MB at most",
        flush=True,
    )
    return {
        "inputs": tried, "findings": dict(findings), "examples": examples, "slowest_seconds": slowest,
        "memory_mb": most,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
