"""Make faces to train and to judge on out of photos, as the paper did.

`celeba`: rough crops of faces in the wild, 128 px, for SPARNet. `ffhq`: FFHQ's aligned faces at
512 px, for SPARNetHD. `natural`: small faces as they are found, aligned and enlarged to 512 px, to
judge SPARNetHD on. docs/data.md has the steps, where the paper says so, and what is ours.

The folder made can be trained on as it is. Its `manifest.jsonl` has a line for each face looked at,
and for each photo without one. A run that was stopped, even killed, goes on where it was: one
process alone writes, a file takes its name when it is whole, and its line follows it.
"""

from sparnet.data.prepare.celeba import (
    CelebaConfig,
    choose_face,
    cut_celeba,
    read_identities,
    read_partition,
    square_around,
)
from sparnet.data.prepare.cutters import Cutter, PrepareConfig, open_cutter
from sparnet.data.prepare.ffhq import FfhqConfig, cut_ffhq
from sparnet.data.prepare.folder import SETTINGS, Preparation, open_preparation
from sparnet.data.prepare.manifest import MANIFEST
from sparnet.data.prepare.natural import NaturalConfig, cut_natural
from sparnet.data.prepare.packs import PACK_BYTES
from sparnet.data.prepare.records import Cut, Reason, Record, Square, Summary, explain

__all__ = [
    "MANIFEST",
    "PACK_BYTES",
    "SETTINGS",
    "CelebaConfig",
    "Cut",
    "Cutter",
    "FfhqConfig",
    "NaturalConfig",
    "Preparation",
    "PrepareConfig",
    "Reason",
    "Record",
    "Square",
    "Summary",
    "choose_face",
    "cut_celeba",
    "cut_ffhq",
    "cut_natural",
    "explain",
    "open_cutter",
    "open_preparation",
    "read_identities",
    "read_partition",
    "square_around",
]
