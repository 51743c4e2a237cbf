"""A trained network's predictions on prepared data."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dsrfau_edge.metrics import evaluate, sites_to_aus

from .data.prepared import Indices, PreparedData
from .networks.heatmap import HeatmapNetwork, decode


@torch.no_grad()
def intensities_of(network: HeatmapNetwork, crops: torch.Tensor) -> npt.NDArray[np.float32]:
    """Site intensities `[N, S]` of crops uint8 `[N, side, side, 3]`; the network must be in evaluation mode."""
    return np.asarray(decode(network(crops).heatmaps.float()).cpu().numpy(), np.float32)


def predict_all(
    network: HeatmapNetwork, data: PreparedData, positions: Indices, *, batch: int = 64
) -> npt.NDArray[np.float32]:
    """Site intensities `[n, S]` of the samples at `positions`, un-augmented, in float32."""
    network.eval()
    device = next(network.parameters()).device
    results = []
    for start in range(0, len(positions), batch):
        crops = np.stack([data.frame(int(position))[0] for position in positions[start : start + batch]])
        results.append(intensities_of(network, torch.from_numpy(crops).to(device)))
    return np.concatenate(results)


def held_out_metrics(network: HeatmapNetwork, data: PreparedData, positions: Indices, *, split: str) -> dict[str, Any]:
    """Metrics on a split, as the checkpoint stores them."""
    predictions = predict_all(network, data, positions)
    sites, aus = data.index.sites, data.index.aus
    scores = evaluate(sites_to_aus(data.intensities[positions], sites, aus), sites_to_aus(predictions, sites, aus), aus)
    identities = len(np.unique(data.identities[positions]))
    return {"split": split, "samples": len(positions), "identities": identities, **scores}
