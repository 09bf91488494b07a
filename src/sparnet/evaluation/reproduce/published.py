"""The numbers that the paper prints, by table, row and metric; a test compares them with its text.

Numbers that only its pictures have (the curves of Figure 5, the bars of Figures 7 and 10) are not
here: they cannot be read off exactly.
"""

from collections.abc import Mapping
from types import MappingProxyType

Rows = Mapping[str, Mapping[str, float]]
"""For each method its numbers by metric, under our names of the metrics nearest to the paper's."""

PAPER = "Chen, Gong, Wang, Li, Wong, 'Learning Spatial Attention for Face Super-Resolution', 2020"


def _rows(metrics: tuple[str, ...], values: dict[str, tuple[float, ...]]) -> Rows:
    return MappingProxyType(
        {row: MappingProxyType(dict(zip(metrics, numbers, strict=True))) for row, numbers in values.items()}
    )


TABLE1 = _rows(
    ("psnr_y", "ssim_y", "landmark_auc", "identity_cosine"),
    {
        "Bicubic": (23.52, 0.6408, 4.42, 0.1851),
        "RCAN": (26.40, 0.7648, 56.53, 0.5373),
        "CBAM": (26.46, 0.7666, 56.83, 0.5378),
        "URDGN": (25.17, 0.7140, 41.78, 0.3981),
        "Wavelet-SRNet": (26.42, 0.7711, 58.44, 0.5147),
        "Attention-FH": (25.10, 0.7188, 46.63, 0.4731),
        "FSRNet": (24.97, 0.7091, 40.42, 0.4765),
        "Baseline": (26.38, 0.7639, 56.23, 0.5302),
        "SPARNet": (26.59, 0.7716, 58.51, 0.5546),
    },
)
"""x8. PSNR, SSIM and landmarks on Helen's test set, identity on faces of UMD-Faces."""

TABLE2 = _rows(("psnr_y", "ssim_y"), {"FSRNet": (26.31, 0.7522), "SPARNet": (26.68, 0.7741)})
"""x8, trained and tested on FSRNet's split of CelebA: 18 thousand faces to train on."""

TABLE3 = _rows(
    ("psnr_y", "ssim_y", "parameters", "seconds"),
    {
        "PFSRNet": (24.13, 0.6688, 8.97, 0.045),
        "DICNet": (26.73, 0.7955, 22.80, 0.065),
        "SPARNet": (26.97, 0.8026, 9.86, 0.051),
    },
)
"""x8, on the Helen test faces that DICNet's authors provide; parameters in millions, time on a Tesla K40."""

TABLE4 = MappingProxyType(
    {
        4: _rows(
            ("psnr_y", "ssim_y"),
            {
                "Bicubic": (27.43, 0.8049),
                "RCAN": (30.73, 0.8857),
                "CBAM": (30.76, 0.8861),
                "Wavelet-SRNet": (30.67, 0.8888),
                "SPARNet": (30.83, 0.8872),
            },
        ),
        16: _rows(
            ("psnr_y", "ssim_y"),
            {
                "Bicubic": (20.22, 0.5180),
                "RCAN": (20.71, 0.6360),
                "CBAM": (20.75, 0.6375),
                "Wavelet-SRNet": (22.44, 0.6314),
                "SPARNet": (22.85, 0.6426),
            },
        ),
    }
)
"""By factor, on Helen's test set."""

TABLE5 = _rows(("identity_cosine",), {"SICNN": (0.5978,), "SPARNet": (0.6272,)})
"""Both trained on SICNN's data, larger and aligned; measured on faces of UMD-Faces."""

TABLE6 = _rows(
    ("lpips", "fid"),
    {
        "ESRGAN": (0.49, 60.67),
        "SFTGAN": (0.36, 37.76),
        "Pix2PixHD": (0.36, 43.1),
        "SPARNetHD": (0.29, 27.16),
        "without pixel": (0.31, 30.63),
        "without adversarial": (0.38, 39.75),
        "without feature matching": (0.32, 33.52),
        "without perceptual": (0.31, 32.97),
    },
)
"""LPIPS on CelebAHQ-Test, FID of CelebA-TestN. Which loss each of the last rows lacks is lost in the
text; they are in the order in which it discusses them."""
