"""What a fine-tune for int8 begins and ends with: a fake-quantized network, and what int8 costs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dsrfau_edge.metrics import evaluate, sites_to_aus

from ..adaptors import fit_adaptors
from ..checkpoint import load_network
from ..data.prepared import PreparedData
from ..distillation import DistillationTask
from ..inference import predict_all
from ..networks.heatmap import HeatmapNetwork
from ..recipes import Recipe
from ..run import RunOptions, calibration_crops, make_task
from ..spread import match_spread, undo_spread
from ..task import HeatmapTask
from .equalize import equalize
from .network import FakeQuantizedNetwork
from .scheme import Scheme

#: Held-out crops that tell what int8 costs before and after.
COST_CROPS = 2000


@dataclass(slots=True)
class Tuning:
    """One fine-tune; `task` and `finish` are those of its `Job`."""

    folder: Path
    data: PreparedData
    recipe: Recipe
    options: RunOptions
    scheme: Scheme
    teacher: Path | None
    _before: dict[str, float | None] = field(default_factory=dict)
    _equalized: dict[str, float | None] = field(default_factory=dict)

    def task(self) -> HeatmapTask:
        """The checkpoint's network under fake quantization, and the losses of its training."""
        trained, described = load_network(self.folder)
        crops = calibration_crops(self.data, self.recipe, self.options.seed)
        every, frozen = self.recipe.qat.every, self.recipe.qat.frozen_stages
        network = FakeQuantizedNetwork(trained, self.scheme, crops, every=every).eval()
        self._before = self._cost(network)
        self._say("before", self._before)
        if self.recipe.qat.equalize and not frozen and equalize(trained.eval(), crops) > 1:
            network = FakeQuantizedNetwork(trained, self.scheme, crops, every=every).eval()
            self._equalized = self._cost(network)
            self._say("equalized", self._equalized)
        undo_spread(network, described.sites, described.training.get("spread") or {})
        student = self.recipe.qat.role(self.recipe.student)
        task = make_task(network, self.data, self.recipe, student, self.teacher, frozen_stages=frozen)
        if isinstance(task, DistillationTask):
            fit_adaptors(task, crops)
        return task

    def finish(self, task: HeatmapTask) -> tuple[HeatmapNetwork, Mapping[str, Any]]:
        """The network in float, with its intensities spread again as those of the checkpoint were."""
        network, limit = task.network, self.recipe.student.spread
        assert isinstance(network, FakeQuantizedNetwork)  # what `task` made
        network.calibrate()
        told: dict[str, Any] = {}
        if limit > 1:
            positions = self.data.split("train", **self.recipe.data.split_options())
            seed = self.options.seed
            told["spread"] = match_spread(network, self.data, positions, limit=limit, seed=seed)
        after = self._cost(network)
        self._say("after", after)
        told["quantization"] = {
            "scheme": self.scheme.name,
            **asdict(self.recipe.qat),
            "held_out": {"before": self._before, "equalized": self._equalized, "after": after},
        }
        return network.unquantized().to(network.ranges.device), told

    def _cost(self, network: FakeQuantizedNetwork) -> dict[str, float | None]:
        """Mean ICC(3,1) in float and in int8, and the mean difference of an AU's intensity between the two."""
        index = self.data.index
        held_out = self.data.split("held-out", **self.recipe.data.split_options())
        chosen = np.sort(np.random.default_rng(0).permutation(held_out)[:COST_CROPS])
        labels = sites_to_aus(self.data.intensities[chosen], index.sites, index.aus)
        rounded = sites_to_aus(predict_all(network, self.data, chosen), index.sites, index.aus)
        with network.in_float():
            exact = sites_to_aus(predict_all(network, self.data, chosen), index.sites, index.aus)
        return {
            "icc_float": evaluate(labels, exact, index.aus)["mean"]["icc"],
            "icc_int8": evaluate(labels, rounded, index.aus)["mean"]["icc"],
            "mean_difference": float(np.abs(rounded - exact).mean()),
            "crops": len(chosen),
        }

    def _say(self, when: str, cost: Mapping[str, float | None]) -> None:
        self.options.report(f"int8 ({self.scheme.name}, simulated) {when}: {spoken(cost)}")


def spoken(cost: Mapping[str, float | None]) -> str:
    """What int8 costs, in words."""
    exact, rounded = (cost[name] for name in ("icc_float", "icc_int8"))
    if exact is None or rounded is None:
        agreement = "mean ICC not defined on these crops"
    else:
        agreement = f"mean ICC {rounded:.4f}, {rounded - exact:+.4f} against float ({exact:.4f})"
    return f"{agreement}; mean |ΔAU| {cost['mean_difference']:.4f} on {cost['crops']} held-out crops"
