"""Disturb the program while it works, in every way a computer has, and look at what is left.

    python benchmarks/chaos.py --faults 300 --json chaos.json

Commands: upscale, restore, prepare, train, and serve where it is installed. Faults:

- kill: SIGKILL at a random moment.
- interrupt: Ctrl-C at a random moment.
- full: the disk that is written to is full after a random number of bytes (a small tmpfs).
- read-only: the disk that is written to becomes read-only, before or while the program runs.
- cut: an input is cut short while it may be being read.

After every fault: each result there is equals, to the byte, that of a run which nobody disturbed (states
of a training have sound checksums); no temporary file is left unless the program was killed; what could
not be done is named on standard error, in single lines, and the exit code is not 0. After some faults
in a row the same command runs once more in peace: it must end with 0, all results be those of the
undisturbed run, and no temporary file be left, whatever was killed before. A server must, after each
fault, answer again, and with the same bytes.

Programs are forked off one process that has imported all there is, so that a fault takes a second.
The disks need Linux and root; without, their faults are left out and this is said. Exit code 1 if
anything is not as it should be.
"""

import argparse
import contextlib
import ctypes
import hashlib
import http.client
import importlib.util
import io
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image

ROOT = Path(__file__).parent.parent
FACES = sorted((ROOT / "examples" / "faces").glob("*.webp"))
FAULTS = ("kill", "interrupt", "full", "read-only", "cut")
IN_A_ROW = 10
"""Faults of a kind before the command may finish in peace."""
SHARES = {"train": 0.15, "serve": 0.25}
"""Of the faults of each kind that a command gets: a training takes long to end, a server to start."""
LONGEST_SECONDS = 900
"""By the clock, on a machine that may be doing other work."""
INTERRUPTED = 130


# Programs


@dataclass
class Ended:
    """How a run of the program ended."""

    code: int
    """Its exit code; negative for a signal."""
    said: str
    """What it wrote to standard error."""
    seconds: float
    """How long it took."""


class Program:
    """A run of the program, forked off this process."""

    def __init__(self, arguments: list[str], said: Path) -> None:
        self.said = said
        self.started = time.perf_counter()
        self.code: int | None = None
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))  # until it is sparnet's to answer
        self.process = os.fork()
        if self.process == 0:
            _become_program(arguments, said)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))

    def poll(self) -> bool:
        """Say whether it has ended."""
        if self.code is None:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def send(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if not self.poll():
            os.kill(self.process, number)

    def wait(self, seconds: float = LONGEST_SECONDS) -> Ended:
        """Wait for its end; kill it, and say so by the code of SIGALRM, if that takes too long."""
        deadline = time.perf_counter() + seconds
        while not self.poll():
            if time.perf_counter() > deadline:
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
                self.code = -signal.SIGALRM
                break
            time.sleep(0.005)
        taken = time.perf_counter() - self.started
        said = self.said.read_text(errors="replace")
        return Ended(self.code or 0, said, taken)


def _become_program(arguments: list[str], said: Path) -> None:
    """Be `sparnet ARGUMENTS` and end."""
    code = 70
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with the process that watches
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(file, 1)
        os.dup2(file, 2)
        from sparnet.cli import main

        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
            main(arguments)
        except SystemExit as ending:
            if isinstance(ending.code, str):
                sys.stderr.write(f"{ending.code}\n")
            code = ending.code if isinstance(ending.code, int) else 1 if ending.code else 0
        except KeyboardInterrupt as interrupt:
            if interrupt.__traceback__ is None or interrupt.__traceback__.tb_next is None:
                sys.stderr.write("interrupted before it began\n")
            else:
                traceback.print_exc()  # as Python does
            code = INTERRUPTED
        except BaseException:  # noqa: BLE001 - told of as Python does
            traceback.print_exc()
            code = 1
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(code)


# Disks


class Disk:
    """A small disk in memory, for Linux and root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder))

    def resize(self, size: int) -> None:
        """Give it room for so many bytes."""
        for more in range(100):  # what is there takes whole pages, and folders take some too
            try:
                self._mount("-o", f"remount,size={max(4096, size) + 4096 * more}", str(self.folder))
            except subprocess.CalledProcessError:
                continue
            return
        raise RuntimeError(f"{self.folder} cannot be made {size} bytes large")

    def protect(self, *, on: bool) -> bool:
        """Make it read-only or not; False if a file is open for writing, so that it cannot be."""
        done = subprocess.run(
            ["mount", "-o", f"remount,{'ro' if on else 'rw'}", str(self.folder)],
            capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode == 0

    def remove(self) -> None:
        """Take it away with all that is on it."""
        subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)

    @staticmethod
    def _mount(*words: str) -> None:
        subprocess.run(["mount", *words], capture_output=True, check=True)


def disk_problem(folder: Path) -> str:
    """Say why no disk can be made; empty if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root"
    try:
        Disk(folder / "trial").remove()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"mount: {error}"
    return ""


# Commands


@dataclass
class Command:
    """A command of the program, on inputs of its own."""

    name: str
    inputs: Path
    """Folder of inputs, which faults may cut short."""
    arguments: Callable[[Path], list[str]]
    """Its words, for a folder to write to, given what is there already."""
    reference: dict[str, bytes] = field(default_factory=dict)
    """What an undisturbed run writes."""
    seconds: float = 1.0
    """How long an undisturbed run takes."""

    def read(self, out: Path) -> dict[str, bytes]:
        """Read all results there are, by their names; hidden files are none."""
        return {
            path.relative_to(out).as_posix(): path.read_bytes()
            for path in sorted(out.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts)
        }

    def check_part(self, out: Path) -> list[str]:
        """Look at what there is after a fault; return what is wrong."""
        return [
            f"{name} is not what it should be ({len(content)} bytes)"
            for name, content in self.read(out).items()
            if self.reference.get(name) != content and not self.may_differ(name)
        ]

    def may_differ(self, name: str) -> bool:
        """Say whether a file may be another until the end."""
        del name
        return False

    def check_all(self, out: Path) -> list[str]:
        """Look at what there is in the end; return what is wrong."""
        made = self.read(out)
        missing = [name for name in self.reference if name not in made]
        return [*self.check_part(out), *(f"{name} is missing" for name in missing)]


class Preparing(Command):
    """`prepare`: the manifest grows line by line until the end."""

    def may_differ(self, name: str) -> bool:
        """The manifest may be behind."""
        return name == "manifest.jsonl"

    def check_part(self, out: Path) -> list[str]:
        """Also see that the whole lines of the manifest tell of pictures that are there."""
        wrong = super().check_part(out)
        manifest = out / "manifest.jsonl"
        lines = manifest.read_text().split("\n")[:-1] if manifest.is_file() else []
        for line in lines:
            try:
                file = json.loads(line).get("file")
            except ValueError:
                continue  # cut short by one fault, and the next run wrote behind it
            if file and not (out / file).is_file():
                wrong.append(f"the manifest tells of {file}, which is not there")
        return wrong

    def check_all(self, out: Path) -> list[str]:
        """In the end the manifest too is the same."""
        same = self.read(out).get("manifest.jsonl") == self.reference["manifest.jsonl"]
        return [*super().check_all(out), *([] if same else ["the manifest is another"])]


class Training(Command):
    """`train`: states with checksums; the final one is equal to the bit."""

    def check_part(self, out: Path) -> list[str]:
        """See that every state and every other file is whole."""
        from sparnet.config import read_toml
        from sparnet.errors import SparnetError
        from sparnet.training.state import TrainState, saved_states
        from sparnet.weights.seal import check_seal

        wrong = []
        readers: dict[str, Callable[[Path], object]] = {
            "recipe.toml": read_toml,
            "model.onnx": check_seal,
            "scores.json": lambda path: json.loads(path.read_text()),
            "faces.png": lambda path: PIL.Image.open(path).load(),
        }
        readers |= {path.name: TrainState.load for path in saved_states(out)}
        for name, read in readers.items():
            if (out / name).is_file():
                try:
                    read(out / name)
                except (SparnetError, OSError, ValueError) as error:
                    wrong.append(f"{name} is damaged: {error}")
        return wrong

    def check_all(self, out: Path) -> list[str]:
        """Compare the last state with that of the undisturbed run, and see that the log is whole."""
        import torch

        from sparnet.training.state import TrainState

        wrong = self.check_part(out)
        made = self.read(out)
        missing = [name for name in self.reference if name not in made and not name.startswith("state-")]
        wrong += [f"{name} is missing" for name in missing]
        last = max(name for name in self.reference if name.startswith("state-"))
        if last not in made:
            return [*wrong, f"{last} is missing"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / last
            path.write_bytes(self.reference[last])
            ours, theirs = TrainState.load(out / last), TrainState.load(path)
        if not _equal(ours.modules, theirs.modules, torch):
            wrong.append("the final state is another")
        for line in made.get("log.jsonl", b"").splitlines():
            try:
                json.loads(line)
            except ValueError:
                wrong.append(f"a line of the log is damaged: {line[:60]!r}")
        return wrong


def _equal(first: object, second: object, torch: object) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(first[k], second[k], torch) for k in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(
            _equal(a, b, torch) for a, b in zip(first, second, strict=True)
        )
    if hasattr(first, "numpy") and hasattr(second, "numpy"):
        return bool((first == second).all()) and first.shape == second.shape
    return first == second


def make_commands(folder: Path, names: list[str]) -> list[Command]:
    """Write small inputs and a small model, and name the commands that work on them."""
    folder.mkdir(parents=True, exist_ok=True)
    small, restoring = write_models(folder)
    commands: list[Command] = []
    if "upscale" in names:
        inputs = _inputs(folder / "tiny")
        for index in range(5):
            face = PIL.Image.open(FACES[index % len(FACES)]).convert("RGB").rotate(index)
            face.resize((16, 16), PIL.Image.Resampling.BICUBIC).save(inputs / f"{index}.png")
        commands.append(
            Command("upscale", inputs, lambda out: ["upscale", str(inputs), "-o", str(out), "-m", str(small)])
        )
    if "restore" in names:
        photos = _inputs(folder / "photos")
        for index in range(4):
            _scene(index).save(photos / f"{index}.png")
        commands.append(
            Command(
                "restore",
                photos,
                lambda out: [
                    "restore",
                    str(photos),
                    "-o",
                    str(out),
                    "-m",
                    str(restoring),
                    "--small-faces",
                    "off",
                    "--skip-existing",
                ],
            )
        )
    if "prepare" in names:
        wild = _inputs(folder / "wild")
        for index in range(12):
            _scene(index).crop((index, 0, 150 + index, 150)).save(wild / f"{index}.png")
        limits = ["--set", "size_px=96", "--workers", "1"]
        commands.append(
            Preparing("prepare", wild, lambda out: ["prepare", "ffhq", str(wild), "-o", str(out), *limits])
        )
    if "train" in names:
        faces = _inputs(folder / "faces")
        for path in FACES:
            shutil.copy(path, faces / path.name)
        commands.append(Training("train", faces, lambda out: _training(out, faces)))
    return commands


def _inputs(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _training(out: Path, faces: Path) -> list[str]:
    values = {
        "train.total_images": 10, "train.batch_size": 1, "train.save_every_images": 1,
        "train.log_every_images": 1, "train.evaluate_every_images": 5, "data.validation_images": 1,
        "network.image_size": 32, "network.body_size": 16, "network.body_units": 1,
        "network.attention_smallest_size": 16, "network.base_channels": 2, "network.max_channels": 4,
        "network.attention_channels": 2,
        "data.train": f'["{faces}"]', "data.validation": f'"{faces}"',
    }  # fmt: skip
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    begun = any(out.glob("state-*.pt"))
    place = ["--resume", str(out)] if begun else ["-o", str(out)]
    return ["train", str(ROOT / "recipes" / "smoke.toml"), *words, *place]


def _scene(seed: int) -> PIL.Image.Image:
    chance = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(chance.integers(40, 200, (5, 7, 3), dtype=np.uint8))
    photo = coarse.resize((170, 150), PIL.Image.Resampling.BICUBIC)
    side = int(chance.integers(90, 110))
    face = PIL.Image.open(FACES[seed % len(FACES)]).convert("RGB")
    place = (int(chance.integers(10, 160 - side)), int(chance.integers(10, 140 - side)))
    photo.paste(face.resize((side, side), PIL.Image.Resampling.BICUBIC), place)
    return photo


def write_models(folder: Path) -> tuple[Path, Path]:
    """Write two models with random weights, one that enlarges and one that restores; once."""
    paths = folder / "small.onnx", folder / "restoring.onnx"
    if all(path.is_file() for path in paths):
        return paths
    program = f"""
import torch
from pathlib import Path
from sparnet.export import describe, export_onnx
from sparnet.network.config import NetworkConfig
from sparnet.network.generator import SPARNet

torch.manual_seed(0)
config = NetworkConfig(base_channels=2, max_channels=4, body_size=64, body_units=1, attention_channels=2,
                       attention_smallest_size=32)
network = SPARNet(config).eval()
for path, task, factor in (({str(paths[0])!r}, "upscale", 8), ({str(paths[1])!r}, "restore", None)):
    info = describe(network, name=Path(path).stem, task=task, upscale_factor=factor, license="none")
    export_onnx(network, Path(path), info)
"""
    # In a process of its own: what exports a network starts threads, and threads do not survive a fork.
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ, capture_output=True)
    return paths


# Faults


class Chaos:
    """Faults on commands, what was found, and how many there were."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)  # noqa: S311 - moments, not secrets
        self.said = folder / "said.txt"
        self.counts: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()
        self.problems: list[str] = []
        self.leftovers = 0

    def start(self, command: Command, out: Path) -> Program:
        """Start a command."""
        return Program(command.arguments(out), self.said)

    def learn(self, command: Command) -> None:
        """Run it undisturbed, twice, and keep what it writes and how long it takes."""
        for turn in range(2):
            out = self.folder / f"{command.name}-reference-{turn}"
            ended = self.start(command, out).wait()
            if ended.code != 0:
                raise RuntimeError(f"{command.name} undisturbed ends with {ended.code}: {ended.said}")
            command.reference, command.seconds = command.read(out), ended.seconds
            shutil.rmtree(out)
        print(
            f"{command.name}: {len(command.reference)} files, {command.seconds:.1f} s undisturbed", flush=True
        )

    def round(self, command: Command, fault: str, faults: int) -> None:
        """Disturb a command some times in a row, then let it finish."""
        label = f"{command.name}, {fault}"
        out = self.folder / f"{command.name}-{fault}"
        disk = Disk(out) if fault in ("full", "read-only") else None
        out = out / "out" if disk else out
        try:
            for _ in range(faults):
                done = getattr(self, f"_{fault.replace('-', '_')}")(command, out, disk)
                self.counts[label] += 1
                self._check(label, command, out, done, fault)
                if done.code == 0:  # it was faster than the fault: all must be there, and it begins anew
                    self._blame(label, command.check_all(out))
                    shutil.rmtree(out)
            if disk is not None:
                disk.protect(on=False)
                disk.resize(64 * 2**20)
            ended = self.start(command, out).wait()
            wrong = command.check_all(out)
            if ended.code != 0:
                wrong.append(f"the run in peace ended with {ended.code}: {ended.said[-300:]}")
            if self._temporary(out):
                wrong.append("temporary files are left in the end")
            self._blame(f"{label}, in the end", wrong)
        finally:
            if disk is not None:
                disk.remove()
            shutil.rmtree(self.folder / f"{command.name}-{fault}", ignore_errors=True)

    def _check(self, label: str, command: Command, out: Path, ended: Ended, fault: str) -> None:
        wrong = command.check_part(out) if out.is_dir() else []
        self.effects[f"{label}: {'done before' if ended.code == 0 else 'had to stop'}"] += 1
        if ended.code == -signal.SIGALRM:
            wrong.append(f"still ran after {LONGEST_SECONDS} s")
        if "Traceback" in ended.said:
            wrong.append(f"a traceback: {ended.said.strip()[-2000:]}")
        if fault == "kill":
            self.leftovers += self._temporary(out)
        else:
            if ended.code < 0:
                wrong.append(f"ended by {signal.Signals(-ended.code).name}")
            if ended.code > 0 and not ended.said.strip():
                wrong.append(f"ended with {ended.code} without a word")
            if self._temporary(out):
                wrong.append("temporary files are left")
        if fault in ("full", "read-only") and ended.code > 0 and str(out.parent) not in ended.said:
            wrong.append(f"does not name what could not be written: {ended.said.strip()[-200:]}")
        self._blame(label, wrong)

    def _blame(self, label: str, wrong: list[str]) -> None:
        for line in wrong:
            self.problems.append(f"{label}: {line}")
            print(f"  WRONG {label}: {line}", flush=True)

    @staticmethod
    def _temporary(out: Path) -> int:
        return sum(1 for _ in out.rglob(".sparnet-*.tmp")) if out.is_dir() else 0

    def _moment(self, command: Command) -> float:
        return self.chance.random() * 1.05 * command.seconds

    def _pause(self, program: Program, seconds: float) -> None:
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline and not program.poll():
            time.sleep(0.002)

    def _kill(self, command: Command, out: Path, disk: Disk | None) -> Ended:
        del disk
        program = self.start(command, out)
        self._pause(program, self._moment(command))
        program.send(signal.SIGKILL)
        return program.wait()

    def _interrupt(self, command: Command, out: Path, disk: Disk | None) -> Ended:
        del disk
        program = self.start(command, out)
        self._pause(program, 0.02 + self._moment(command))
        program.send(signal.SIGINT)
        return program.wait()

    def _full(self, command: Command, out: Path, disk: Disk) -> Ended:
        used = sum(path.stat().st_size for path in disk.folder.rglob("*") if path.is_file())
        all_of_it = sum(map(len, command.reference.values()))
        disk.resize(used + round(self.chance.random() * max(4096, all_of_it - used)))
        return self.start(command, out).wait()

    def _read_only(self, command: Command, out: Path, disk: Disk) -> Ended:
        early = self.chance.random() < 0.3
        if early:
            disk.protect(on=True)
        program = self.start(command, out)
        if not early:
            self._pause(program, self._moment(command))
            while not program.poll() and not disk.protect(on=True):
                time.sleep(0.002)
        ended = program.wait()
        disk.protect(on=False)
        return ended

    def _cut(self, command: Command, out: Path, disk: Disk | None) -> Ended:
        del disk
        victim = self.chance.choice(sorted(path for path in command.inputs.iterdir() if path.is_file()))
        whole = victim.read_bytes()
        program = self.start(command, out)
        try:
            self._pause(program, self._moment(command) * 0.8)
            os.truncate(victim, round(self.chance.random() * 0.9 * len(whole)))
            ended = program.wait()
        finally:
            temporary = victim.with_name(".whole")
            temporary.write_bytes(whole)
            temporary.replace(victim)
        if ended.code > 0 and victim.name not in ended.said:
            self._blame(f"{command.name}, cut", [f"does not name {victim.name}: {ended.said.strip()[-200:]}"])
        return ended


# The server

_ADDRESS = re.compile(r"http://[^\s/]+:(\d+) \(Ctrl-C ends it\)")


class Server:
    """`sparnet serve` under the same faults: it keeps nothing, so that it must answer again."""

    def __init__(self, chaos: Chaos) -> None:
        self.chaos = chaos
        self.folder = chaos.folder / "serve"
        self.folder.mkdir(exist_ok=True)
        self.said = self.folder / "said.txt"
        _, self.model = write_models(chaos.folder / "inputs")
        file = io.BytesIO()
        _scene(3).save(file, "PNG")
        self.photo = file.getvalue()
        self.program = self._start()
        self.answer = self._ask()
        print(f"serve: answers with {len(self.answer)} bytes", flush=True)

    def stop(self) -> None:
        """End it."""
        self.program.send(signal.SIGINT)
        self.program.wait()

    def run(self, faults: int) -> None:
        """Inject faults, in turn, and ask again after each."""
        kinds = [fault for fault in FAULTS if hasattr(self, f"_{fault.replace('-', '_')}")]
        for index in range(faults):
            fault = kinds[index % len(kinds)]
            label = f"serve, {fault}"
            self.chaos.counts[label] += 1
            wrong = []
            try:
                getattr(self, f"_{fault.replace('-', '_')}")()
                if self._ask() != self.answer:
                    wrong.append("answers otherwise afterwards")
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                is_alive = not self.program.poll()
                self.program.send(signal.SIGKILL)
                ended = self.program.wait()
                how = "it runs" if is_alive else f"it ended with {ended.code}"
                wrong.append(f"{type(error).__name__}: {error}; {how}, and says {ended.said.strip()[-300:]}")
                self.program = self._start()
            said = self.said.read_text(errors="replace")
            if "Traceback" in said:
                wrong.append(f"a traceback: {said.strip()[-2000:]}")
            self.chaos._blame(label, wrong)

    def _start(self) -> Program:
        """Start it, on a port that is free: the one before may have become another program's."""
        said = self.said
        said.unlink(missing_ok=True)  # what the server before it said
        program = Program(["serve", "-m", str(self.model), "--port", "0", "--threads", "1"], said)
        deadline = time.perf_counter() + LONGEST_SECONDS
        while not (found := _ADDRESS.search(said.read_text(errors="replace") if said.exists() else "")):
            if program.poll() or time.perf_counter() > deadline:
                program.send(signal.SIGKILL)
                ended = program.wait()
                raise RuntimeError(f"the server does not start ({ended.code}): {ended.said}")
            time.sleep(0.01)
        self.port = int(found[1])
        return program

    def _request(self) -> tuple[bytes, dict[str, str]]:
        edge = hashlib.sha256(self.photo).hexdigest()[:20]
        head = f'--{edge}\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n'
        body = head.encode() + self.photo + f"\r\n--{edge}--\r\n".encode()
        return body, {"Content-Type": f"multipart/form-data; boundary={edge}"}

    def _ask(self) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST_SECONDS)
        body, headers = self._request()
        connection.request("POST", "/v1/restore", body, headers)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        if reply.status != http.client.OK:
            raise RuntimeError(f"{reply.status}: {content[:200]!r}")
        return content

    def _half(self, share: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST_SECONDS)
        body, headers = self._request()
        connection.putrequest("POST", "/v1/restore")
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(body[: round(share * len(body))])
        return connection

    def _kill(self) -> None:
        connection = self._half(1)
        time.sleep(self.chaos.chance.random() * 0.3)
        self.program.send(signal.SIGKILL)
        self.program.wait()
        connection.close()
        self.program = self._start()

    def _interrupt(self) -> None:
        connection = self._half(1)
        time.sleep(self.chaos.chance.random() * 0.3)
        self.program.send(signal.SIGINT)
        ended = self.program.wait()
        connection.close()
        if ended.code not in (0, INTERRUPTED):
            raise RuntimeError(f"ended with {ended.code} after Ctrl-C: {ended.said[-200:]}")
        self.program = self._start()

    def _cut(self) -> None:
        """A client that sends a part of a photo and is gone."""
        connection = self._half(self.chaos.chance.random() * 0.99)
        time.sleep(self.chaos.chance.random() * 0.1)
        connection.close()


def installed(name: str) -> bool:
    """Say whether this copy of the program has a command."""
    return importlib.util.find_spec(f"sparnet.cli.{name}") is not None


def import_all() -> None:
    """Import what the commands import, so that a fork has it already."""
    for name in (
        "sparnet.cli.app", "sparnet.upscaling", "sparnet.restoration",
        "sparnet.engine.openvino",
        "sparnet.data.prepare", "sparnet.faces.detect", "sparnet.training.loop", "sparnet.training.results",
        "sparnet.export", "onnxscript", "torch._dynamo", "torch.onnx._internal.exporter._core",
        "torch.export",
        "rich.progress", "rich.console",
    ):  # fmt: skip
        importlib.import_module(name)
    if installed("serve"):
        for name in ("sparnet.web.app", "sparnet.web.server", "sparnet.web.service"):
            importlib.import_module(name)


def run(folder: Path, faults: int, seed: int, commands: list[str], kinds: list[str]) -> Iterator[Chaos]:
    """Do it all; yield the state after each round."""
    chaos = Chaos(folder, seed)
    reason = disk_problem(folder)
    if reason:
        print(f"full and read-only disks are left out: {reason}", flush=True)
        kinds = [kind for kind in kinds if kind not in ("full", "read-only")]
    todo = make_commands(folder / "inputs", commands)
    import_all()
    with_server = "serve" in commands and installed("serve")
    if "serve" in commands and not with_server:
        print("serve is left out: it is not installed", flush=True)
    shares = {command.name: SHARES.get(command.name, 1) for command in todo}
    of_server = SHARES["serve"] * with_server
    each = math.ceil(faults / max(1, sum(shares.values()) * len(kinds) + 3 * of_server))
    for command in todo:
        chaos.learn(command)
    for begin in range(0, each, IN_A_ROW):
        for command in todo:
            count = min(IN_A_ROW, math.ceil(each * shares[command.name]) - begin)
            for kind in kinds if count > 0 else ():
                chaos.round(command, kind, count)
                yield chaos
        count = min(IN_A_ROW, math.ceil(each * of_server) - begin)
        if count > 0:
            server = Server(chaos)
            server.run(3 * count)
            server.stop()
            yield chaos


def main() -> int:
    """Disturb, and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = ["upscale", "restore", "prepare", "train", "serve"]
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(every), help="which; default: all")
    parser.add_argument("--kinds", default=",".join(FAULTS), help="of faults; default: all")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--models", type=Path, help="folder of small.onnx and restoring.onnx, if made before")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    started = time.perf_counter()
    chaos = None
    with tempfile.TemporaryDirectory() as temporary:
        arguments = options.commands.split(","), options.kinds.split(",")
        if options.models is not None:
            shutil.copytree(options.models, Path(temporary) / "inputs")
        for chaos in run(Path(temporary), options.faults, options.seed, *arguments):
            if options.json is not None:
                figures = {
                    "faults": dict(chaos.counts), "effects": dict(chaos.effects), "problems": chaos.problems,
                    "temporary_files_after_kills": chaos.leftovers,
                }  # fmt: skip
                options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if chaos is None:
        return 1
    for label, count in sorted(chaos.counts.items()):
        stopped = chaos.effects[f"{label}: had to stop"]
        print(f"{label}: {count} faults" + (f", {stopped} of them before its end" if stopped else ""))
    total = sum(chaos.counts.values())
    print(f"{total} faults, {len(chaos.problems)} problems, {time.perf_counter() - started:.0f} s")
    return 1 if chaos.problems else 0


if __name__ == "__main__":
    sys.exit(main())
