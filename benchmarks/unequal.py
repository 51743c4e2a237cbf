"""Make a network that int8 hurts: a copy of a checkpoint whose channels differ in range, with the same float function.

Every channel between two blocks of an EfficientNet-Lite is enlarged by a factor where it is written, drawn from 1 to
`--factor`, and made smaller again where it is read. In float nothing changes; in 8 bits the small channels of a tensor
lose as many steps as the largest is larger. See README.md beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def unequal(network: Any, factor: float, seed: int = 0) -> None:
    """Make the channels between the blocks of a network unequal, in place.

    Args:
        network: `HeatmapNetwork` on an EfficientNet-Lite.
        factor: the largest channel is at most so many times what it was; logarithms of the factors are uniform.
        seed: of the factors.
    """
    import torch

    random = np.random.default_rng(seed)
    backbone, upsampler = network.backbone, network.upsampler
    stages = [list(stage) for stage in backbone.stages]
    with torch.no_grad():
        for position, blocks in enumerate(stages):
            drawn = np.exp(random.uniform(0, math.log(factor), blocks[0].project[0].out_channels))
            factors = torch.tensor(drawn, dtype=torch.float32)
            for block in blocks:
                norm = block.project[1]
                norm.weight *= factors
                norm.bias *= factors
            readers = [block.expand[0] for block in blocks[1:]]
            last = position + 1 == len(stages)
            readers.append(upsampler.reduce[0][0] if last else stages[position + 1][0].expand[0])
            if upsampler.lateral is not None and position in backbone.taps[:3]:
                readers.append(upsampler.lateral[2 - backbone.taps.index(position)][0])
            for reader in readers:
                reader.weight /= factors[None, :, None, None]


def copy_unequal(source: Path, destination: Path, factor: float) -> None:
    """Write the copy of a checkpoint."""
    import onnx
    from safetensors.torch import save_file

    from dsrfau_edge.checkpoint import DESCRIPTION, GRAPH, WEIGHTS, sha256_of
    from dsrfau_edge.train.checkpoint import load_network
    from dsrfau_edge.train.graph import export_graph

    network, checkpoint = load_network(source)
    unequal(network, factor)
    shutil.copytree(source, destination)
    metadata = {entry.key: entry.value for entry in onnx.load(source / GRAPH).metadata_props}
    graph = export_graph(network, input_size=checkpoint.input_size, metadata=metadata)
    (destination / GRAPH).write_bytes(graph.SerializeToString())
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, destination / WEIGHTS)
    described = json.loads((source / DESCRIPTION).read_text(encoding="utf-8"))
    described["files"] = {name: sha256_of(destination / name) for name in described["files"]}
    (destination / DESCRIPTION).write_text(json.dumps(described, indent=1), encoding="utf-8")


def main(arguments: Iterable[str] | None = None) -> None:
    """Write the copy and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="of an EfficientNet-Lite with the separable upsampler")
    parser.add_argument("--factor", type=float, default=64.0, help="largest over smallest, at most; default 64")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to make")
    options = parser.parse_args(None if arguments is None else list(arguments))
    if not 1 < options.factor < math.inf:
        parser.error(f"--factor {options.factor:g} makes nothing unequal: give more than 1")
    if options.output.exists():
        parser.error(f"{options.output} is already there")
    copy_unequal(options.checkpoint, options.output, options.factor)
    print(options.output)


if __name__ == "__main__":
    main()
