"""The two tasks: what they report, what they leave alone, and that they teach."""

from __future__ import annotations

import math

import numpy as np
import pytest
from toy_data import write_toy

torch = pytest.importorskip("torch", reason="training needs the train extra")

from dsrfau_edge.train.data.dataset import Batch  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.distillation import DistillationTask  # noqa: E402
from dsrfau_edge.train.inference import held_out_metrics, predict_all  # noqa: E402
from dsrfau_edge.train.module import TrainingModule, parameter_groups  # noqa: E402
from dsrfau_edge.train.networks.heatmap import HeatmapNetwork, NetworkConfig  # noqa: E402
from dsrfau_edge.train.recipes import DistillationConfig, RoleConfig  # noqa: E402
from dsrfau_edge.train.task import HeatmapTask  # noqa: E402

TEACHER = NetworkConfig("tiny", "deconv", (24, 16, 12), pretrained=False)
STUDENT = NetworkConfig("tiny", "separable", (8, 8, 12), pretrained=False)


def make_batch(count=4):
    torch.manual_seed(1)
    return Batch(
        torch.randint(0, 256, (count, 64, 64, 3), dtype=torch.uint8),
        torch.rand(count, 3) * 5,
        torch.rand(count, 3, 2) * 64,
    )


def make_distillation(config=None):
    torch.manual_seed(0)
    return DistillationTask(
        HeatmapNetwork(STUDENT, 3), HeatmapNetwork(TEACHER, 3), config=config or DistillationConfig(), foreground=10.0
    ).train()


def test_the_components_add_up():
    config = DistillationConfig(feature_map=0.5, region_wise=2.0, channel_wise=3.0)
    losses = make_distillation(config)(make_batch())
    assert set(losses) == {"total", "heatmap", "feature_map", "region_wise", "channel_wise"}
    expected = losses["heatmap"] + 0.5 * losses["feature_map"] + 2 * losses["region_wise"] + 3 * losses["channel_wise"]
    torch.testing.assert_close(losses["total"], expected)
    assert all(value > 0 for value in losses.values())


def test_the_teacher_is_frozen_and_in_evaluation_mode():
    task = make_distillation()
    before = {name: value.clone() for name, value in task.teacher.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        task(make_batch())["total"].backward()
        optimizer.step()
    assert not task.teacher.training
    for name, value in task.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_adaptors_stand_where_widths_differ_and_are_no_part_of_the_student():
    task = make_distillation(DistillationConfig(feature_stages=("stride8", "stride4")))
    convolution, rectifier = task.adaptors["stride8"]
    assert isinstance(convolution, torch.nn.Conv2d)
    assert isinstance(rectifier, torch.nn.ReLU), "the teacher's stages are never negative"
    assert isinstance(task.adaptors["stride4"], torch.nn.Identity)
    assert not any("adaptor" in name for name in task.network.state_dict())


def test_distillation_stages_may_be_left_out():
    config = DistillationConfig(feature_stages=(), relation_stages=())
    losses = make_distillation(config)(make_batch())
    torch.testing.assert_close(losses["total"], losses["heatmap"])


def test_frozen_stages_stand_still():
    network = HeatmapNetwork(STUDENT, 3)
    task = HeatmapTask(network, foreground=10.0, frozen_stages=2).train()
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        task(make_batch())["total"].backward()
        optimizer.step()
    moved = {name for name, value in network.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert not [name for name in moved if name.startswith(("stem.", "stages.0.", "stages.1."))]


def test_parameter_groups_cover_everything_once():
    task = make_distillation()
    groups = parameter_groups(task, RoleConfig(network=STUDENT, frozen_stages=0, backbone_rate=0.1))
    found = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(found) == sorted(id(p) for p in task.parameters() if p.requires_grad)
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {
        (2e-3, 0.02), (2e-3, 0.0), (2e-4, 0.02), (2e-4, 0.0)
    }  # fmt: skip


def test_warm_up_and_cosine(tmp_path):
    config = RoleConfig(network=STUDENT, frozen_stages=0, warmup=0.1)
    task = HeatmapTask(HeatmapNetwork(STUDENT, 3), foreground=1.0)
    module = TrainingModule(task, config=config, steps=100, sites=(), aus=(), folder=tmp_path)
    rate = module.configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert rate(0) == pytest.approx(0.1)
    assert rate(10) == pytest.approx(1.0)
    assert rate(55) == pytest.approx(0.505)
    assert rate(100) == rate(500) == pytest.approx(0.01)
    assert all(math.isfinite(rate(step)) for step in range(101))


def test_a_small_network_learns_the_toy(tmp_path):
    """Forty passes over about 90 toy faces: the intensities of faces it has not seen follow the truth."""
    torch.manual_seed(0)
    data = load_prepared([write_toy(tmp_path, 128, identities=16)])
    train = data.split("train", held_out=0.3)
    held = data.split("held-out", held_out=0.3)
    frames = [data.frame(int(position)) for position in train]
    crops = torch.stack([torch.from_numpy(crop) for crop, _ in frames])
    centres = torch.stack([torch.from_numpy(centre) for _, centre in frames])
    batch = Batch(crops, torch.from_numpy(data.intensities[train]), centres)
    network = HeatmapNetwork(NetworkConfig("tiny", "separable", (16, 16, 16), pretrained=False), 3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    task = HeatmapTask(network, foreground=30.0).train()
    optimizer = torch.optim.AdamW(task.parameters(), 6e-3)
    losses = []
    for _ in range(40):
        for part in torch.randperm(len(train)).split(32):
            loss = task(Batch(*(value[part] for value in batch)))["total"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])
    scores = held_out_metrics(network, data, held, split="held-out")
    assert scores["mean"]["pcc"] > 0.8
    assert scores["mean"]["icc"] > 0.7
    assert predict_all(network, data, held, batch=7).shape == (len(held), 3)


def test_a_hundredth_of_a_set_is_learned_by_heart(tmp_path):
    """Sixteen of 1,600 faces, as `--limit 16` reads them, 200 steps: what does not overfit does not learn."""
    data = load_prepared([write_toy(tmp_path, 1600, identities=40)], limit=16)
    positions = np.arange(len(data))
    crops, centres = (
        torch.stack([torch.from_numpy(part) for part in parts])
        for parts in zip(*(data.frame(int(position)) for position in positions), strict=True)
    )
    batch = Batch(crops, torch.from_numpy(data.intensities), centres)
    torch.manual_seed(0)
    network = HeatmapNetwork(NetworkConfig("tiny", "separable", (16, 16, 16), pretrained=False), 3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    before = held_out_metrics(network, data, positions, split="train")["mean"]
    assert before["pcc"] < 0.5
    task = HeatmapTask(network, foreground=30.0).train()
    optimizer = torch.optim.AdamW(task.parameters(), 6e-3)
    for _ in range(200):
        loss = task(batch)["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = held_out_metrics(network, data, positions, split="train")["mean"]
    assert after["pcc"] > 0.95
    assert after["icc"] > 0.95
    assert after["mae"] < 0.3
