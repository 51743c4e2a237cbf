"""Channels between blocks brought to ranges that 8 bits suit, with the same function in float.

An activation has one scale for all its channels, so that a channel with a small range beside one with a large range
loses its steps. Between the blocks of an EfficientNet-Lite nothing but additions and 1×1 convolutions meets a channel,
so that it may be enlarged where it is written and made smaller where it is read. The factor balances its range with the
weights that read it, as in cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721) and, for activations, in
SmoothQuant (Xiao et al. 2023, arXiv:2211.10438, equation 4 with α = ½).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..networks.efficientnet_lite import EfficientNetLite
from ..networks.heatmap import HeatmapNetwork
from ..networks.upsampler import SeparableUpsampler

_BATCH = 32
_TINY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """The channels that one stage of the backbone hands on.

    Attributes:
        blocks: whose outputs they are.
        norms: batch norms that write them.
        readers: 1×1 convolutions that read them.
    """

    blocks: tuple[nn.Module, ...]
    norms: tuple[Any, ...]
    readers: tuple[Any, ...]


@torch.no_grad()
def equalize(network: HeatmapNetwork, crops: torch.Tensor) -> float:
    """Balance the channels between the blocks, in place.

    Args:
        network: trained; one without such channels (ResNet, deconvolutions) is left as it is.
        crops: uint8 `[n, side, side, 3]` that the ranges are measured on.

    Returns:
        How many times the largest factor is the smallest: 1 where nothing was changed.
    """
    streams = list(_streams(network))
    spans = _spans(network, streams, crops)
    widest = 1.0
    for stream, span in zip(streams, spans, strict=True):
        read = torch.stack([reader.weight.abs().amax((0, 2, 3)) for reader in stream.readers]).amax(0)
        usable = (span > _TINY * span.max()) & (read > _TINY * read.max())
        factors = torch.where(usable, (read / span.clamp_min(_TINY * float(span.max()))).sqrt(), torch.ones_like(span))
        if usable.any():
            factors[usable] /= factors[usable].log().mean().exp()  # the tensor as a whole keeps its size
            widest = max(widest, float(factors.max() / factors.min()))
        for norm in stream.norms:
            norm.weight *= factors
            norm.bias *= factors
        for reader in stream.readers:
            reader.weight /= factors[None, :, None, None]
    return widest


def _streams(network: HeatmapNetwork) -> Iterator[Stream]:
    if not isinstance(network.backbone, EfficientNetLite) or not isinstance(network.upsampler, SeparableUpsampler):
        return
    backbone: Any = network.backbone
    upsampler: Any = network.upsampler
    stages = [list(stage) for stage in backbone.stages]
    for position, blocks in enumerate(stages):
        following = stages[position + 1][0].expand if position + 1 < len(stages) else upsampler.reduce[0]
        readers = [*(block.expand[0] for block in blocks[1:]), following[0]]
        if upsampler.lateral is not None and position in backbone.taps[:3]:
            readers.append(upsampler.lateral[2 - backbone.taps.index(position)][0])
        yield Stream(tuple(blocks), tuple(block.project[1] for block in blocks), tuple(readers))


def _spans(network: HeatmapNetwork, streams: list[Stream], crops: torch.Tensor) -> list[torch.Tensor]:
    """Largest magnitude of each channel of each stream."""
    found: list[torch.Tensor | None] = [None] * len(streams)

    def look(place: int) -> Any:
        def seen(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            span, known = output.abs().amax((0, 2, 3)), found[place]
            found[place] = span if known is None else torch.maximum(known, span)

        return seen

    hooks = [
        block.register_forward_hook(look(place)) for place, stream in enumerate(streams) for block in stream.blocks
    ]
    try:
        for first in range(0, len(crops) if streams else 0, _BATCH):
            network(crops[first : first + _BATCH])
    finally:
        for hook in hooks:
            hook.remove()
    return [span for span in found if span is not None]
