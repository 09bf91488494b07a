"""Between 8-bit pictures and the range the networks were trained on: the only two representations."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def to_signed(pictures: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Take 8-bit pictures to [-1, 1]."""
    return pictures.float() / 127.5 - 1


def to_bytes(signed: Float[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 3 h w"]:
    """Take [-1, 1] to 8 bits: clipped, then truncated, as protocol `sparnet` has it.

    A thousandth of a grey level is added first, so that every byte survives `to_signed` and back.
    """
    return ((signed.float() + 1) * 127.5 + 1 / 1024).clamp(0, 255).to(torch.uint8)
