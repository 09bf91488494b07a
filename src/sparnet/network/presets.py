"""Architectures by name: the paper's, the release's, the ablation's and our own."""

from sparnet.errors import RecipeError
from sparnet.network.config import NetworkConfig

_HD = NetworkConfig(
    image_size=512,
    body_size=32,
    body_units=9,
    base_channels=102,
    max_channels=512,
    norm="instance",
    attention_smallest_size=16,
)

_WAVELET = NetworkConfig(
    architecture="wavelet", input_size=16, base_channels=64, max_channels=512, body_units=1
)

PRESETS: dict[str, NetworkConfig] = {
    "sparnet": NetworkConfig(),
    "sparnet-paper": NetworkConfig(activation="prelu"),
    "sparnet-3d": NetworkConfig(attention="channelwise"),
    "sparnet-light": NetworkConfig(attention="channelwise", body_units=1),
    "sparnet-direct": NetworkConfig(input_size=16),
    "sparnet-direct-3d": NetworkConfig(input_size=16, attention="channelwise"),
    "sparnet-fast": NetworkConfig(
        input_size=16, pixel_unshuffle=2, base_channels=64, attention="channelwise", body_units=6
    ),
    "baseline": NetworkConfig(attention="none"),
    "v1": NetworkConfig(attention_units=1),
    "v2": NetworkConfig(attention_units=2),
    "v4": NetworkConfig(attention_units=4),
    "v8": NetworkConfig(attention_units=8),
    "v16": NetworkConfig(attention_units=16),
    "s2": NetworkConfig(attention_smallest_size=2),
    "s4": NetworkConfig(attention_smallest_size=4),
    "s8": NetworkConfig(attention_smallest_size=8),
    "s16": NetworkConfig(attention_smallest_size=16),
    "rcan": NetworkConfig(attention="rcan"),
    "cbam": NetworkConfig(attention="cbam"),
    "wavelet-x4": _WAVELET.model_copy(update={"input_size": 32}),
    "wavelet-x8": _WAVELET,
    "wavelet-x16": _WAVELET.model_copy(update={"input_size": 8}),
    "sparnet-hd": _HD.model_copy(update={"spectral_norm": True}),
    "sparnet-hd-light": _HD.model_copy(update={"base_channels": 32, "max_channels": 128}),
    "sparnet-hd-folded": NetworkConfig(
        image_size=512,
        pixel_unshuffle=4,
        global_residual="detail",
        encoder_skips=True,
        attention="channelwise",
        body_units=1,
    ),
}
"""Every preset. `v*` have attention in the last n units, `s*` hourglasses down to n px (Figure 7);
`wavelet-*` are Wavelet-SRNet for the three factors (Figure 10)."""


def preset(name: str) -> NetworkConfig:
    """Look up an architecture by name.

    Raises:
        RecipeError: If there is no such preset.
    """
    if name not in PRESETS:
        raise RecipeError(f"no preset '{name}'; have: {', '.join(PRESETS)}")
    return PRESETS[name]
