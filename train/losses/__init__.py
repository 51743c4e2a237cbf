"""The four losses, each a pure module: tensors in, scalar out, computed in float32 also under autocast."""

from .channel_wise import ChannelWiseLoss
from .feature_map import FeatureMapLoss
from .heatmap import HeatmapLoss
from .region_wise import RegionWiseLoss

__all__ = ["ChannelWiseLoss", "FeatureMapLoss", "HeatmapLoss", "RegionWiseLoss"]
