"""A trained network's predictions on prepared data, and what it costs: weights, operations, time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .data.prepared import Indices, PreparedData
from .metrics import evaluate, sites_to_aus
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


def count_parameters(network: nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: HeatmapNetwork, input_size: int) -> int:
    """Multiply-accumulates of the convolutions and deconvolutions for one crop.

    Convention: a convolution counts its kernel once per *output* position, a deconvolution once per *input* position
    (that is what a deconvolution computes); additions, norms (folded when exported) and activations count nothing.
    """
    macs = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal macs
        weight = module.get_parameter("weight")
        positions = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        macs += weight.numel() * positions.shape[2] * positions.shape[3]

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, kinds)]
    was_training = network.training
    try:
        device = next(network.parameters()).device
        with torch.no_grad():
            network.eval()(torch.zeros(1, input_size, input_size, 3, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return macs


def cpu_latency(model: bytes, input_size: int, *, runs: int = 30) -> dict[str, Any]:
    """Median time of one crop through onnxruntime on one CPU thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    crop = {"crops": np.zeros((1, input_size, input_size, 3), np.uint8)}
    times = []
    for _ in range(runs + 5):
        start = time.perf_counter()
        session.run(["intensities"], crop)
        times.append(time.perf_counter() - start)
    median = float(np.median(times[5:]))
    return {"milliseconds": round(median * 1e3, 2), "runtime": f"onnxruntime {onnxruntime.__version__}", "threads": 1}
