"""Target maps, drawn on the batch's device.

A spot is `exp(-(r^2 - r0^2) / 2 sigma^2)` around its site's sub-pixel centre, r0 being the distance of the nearest grid
point along each axis: its largest value *on the grid* is exactly one wherever between the pixels the site lies. Without
that, a site half a pixel off the grid would have a target 22 % below its intensity (sigma 1), which the decode, a
maximum over the grid, could never undo. A centre outside the map is moved to its border, so that its intensity stays
reachable.
"""

from __future__ import annotations

import torch

#: Standard deviation of a spot for a heatmap of this side: 2 px on the 64 grid.
SIGMA_PER_SIDE = 1 / 32


def spot_sigma(heatmap_size: int) -> float:
    """Standard deviation of a spot in heatmap pixels."""
    return heatmap_size * SIGMA_PER_SIDE


def draw_spots(centres: torch.Tensor, input_size: int, heatmap_size: int) -> torch.Tensor:
    """Spots of unit height.

    Args:
        centres: `[N, S, 2]` x and y in pixels of the input (integers are pixel centres).
        input_size: side of the input.
        heatmap_size: side h of the heatmaps.

    Returns:
        `[N, S, h, h]`, float32; the target of a site is its spot times its intensity.
    """
    scale = heatmap_size / input_size
    on_grid = ((centres.float() + 0.5) * scale - 0.5).clamp(0, heatmap_size - 1)
    grid = torch.arange(heatmap_size, device=centres.device, dtype=torch.float32)
    exponent = (grid - on_grid[..., None]).square() / (2 * spot_sigma(heatmap_size) ** 2)
    profiles = torch.exp(exponent.amin(-1, keepdim=True) - exponent)
    return profiles[:, :, 1, :, None] * profiles[:, :, 0, None, :]
