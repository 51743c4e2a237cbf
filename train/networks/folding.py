"""Batch norms folded into the convolutions before them, for a network that is only looked at."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network) -> Network:
    """A copy in evaluation mode without the batch norms that follow a convolution in a sequence.

    It predicts the same up to rounding; norms in evaluation mode are slow on a CPU.
    """
    copied = copy.deepcopy(network).eval()
    for sequence in [module for module in copied.modules() if isinstance(module, nn.Sequential)]:
        for position, (one, following) in enumerate(zip(list(sequence), list(sequence)[1:], strict=False)):
            if isinstance(one, (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(following, nn.BatchNorm2d):
                transposed = isinstance(one, nn.ConvTranspose2d)
                sequence[position] = fuse_conv_bn_eval(one, following, transpose=transposed)
                sequence[position + 1] = nn.Identity()
    return copied
