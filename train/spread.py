"""Intensities as widely spread as the labels: the last step of a training, one factor per site.

A network that is unsure of a site predicts too little of it: a squared error is least when predictions shrink towards
the mean. That costs agreement, ICC(3,1) = 2 r s / (1 + s^2) for a spread s of the predictions relative to the labels',
and strong movements read as weak ones. The factors are measured on the persons that were trained on, never on those
held out, and are multiplied into the head: they cost nothing on the device, and do not change a correlation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from .data.prepared import Indices, PreparedData
from .inference import predict_all
from .networks.heatmap import HeatmapNetwork

#: Training samples that the spread is measured on.
SAMPLES = 3000


@torch.no_grad()
def match_spread(
    network: HeatmapNetwork, data: PreparedData, positions: Indices, *, limit: float, seed: int
) -> dict[str, float]:
    """Scale each site's heatmap so that its intensities spread like the labels, as far as `limit` allows.

    Args:
        network: trained; its head is changed.
        data: what it was trained on.
        positions: of the training split.
        limit: the largest factor, from 1 on: noise grows with the signal.
        seed: of the samples chosen.

    Returns:
        The factor of each site, 1 to `limit`; 1 where labels or predictions do not vary.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(positions)[:SAMPLES])
    labels, predictions = data.intensities[chosen], predict_all(network, data, chosen)
    factors = {}
    for column, site in enumerate(data.index.sites):
        known = ~np.isnan(labels[:, column])
        wanted, found = (values[known, column].std() if known.any() else 0.0 for values in (labels, predictions))
        factors[site] = float(np.clip(wanted / found, 1.0, limit)) if wanted > 0 and found > 0 else 1.0
    scale = torch.tensor(list(factors.values()), dtype=network.head.weight.dtype, device=network.head.weight.device)
    network.head.weight *= scale[:, None, None, None]
    if network.head.bias is not None:
        network.head.bias *= scale
    return factors


@torch.no_grad()
def undo_spread(network: HeatmapNetwork, sites: Sequence[str], factors: Mapping[str, float]) -> None:
    """The head as the losses left it: they would take the factors of `match_spread` for an error."""
    scale = torch.tensor([float(factors.get(site, 1.0)) for site in sites])
    network.head.weight /= scale[:, None, None, None]
    if network.head.bias is not None:
        network.head.bias /= scale
