"""The losses against values worked out by hand, their gradients, and what they must not depend on."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from dsrfau_edge.train.losses import ChannelWiseLoss, FeatureMapLoss, HeatmapLoss, RegionWiseLoss  # noqa: E402

NAN = math.nan


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestHeatmapLoss:
    def test_plain_mean_squared_error(self):
        predicted = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]])
        spots = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]])
        # target = 4 * spot = [4, 2, 0, 0]: squared errors 9, 4, 0, 4
        assert HeatmapLoss()(predicted, spots, torch.tensor([[4.0]])) == pytest.approx(17 / 4)

    def test_foreground_weighs_the_spot(self):
        predicted = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]])
        spots = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]])
        # weights 1 + 2 * spot = 3, 2, 1, 1
        loss = HeatmapLoss(foreground=2.0)(predicted, spots, torch.tensor([[4.0]]))
        assert loss == pytest.approx((3 * 9 + 2 * 4 + 4) / 7)

    def test_a_site_at_rest_counts_as_much_as_an_active_one(self):
        spots = torch.zeros(1, 1, 4, 4)
        spots[..., 1, 1] = 1
        loss = HeatmapLoss(foreground=10.0)
        too_high = loss(spots * 1.0, spots, torch.tensor([[0.0]]))
        too_low = loss(spots * 4.0, spots, torch.tensor([[5.0]]))
        assert too_high == pytest.approx(float(too_low))

    @pytest.mark.parametrize("value", [1e9, float("inf"), NAN])
    def test_unlabelled_maps_do_not_count(self, value):
        predicted, spots = torch.ones(2, 2, 3, 3), torch.rand(2, 2, 3, 3)
        intensities = torch.tensor([[2.0, NAN], [1.0, 3.0]])
        clean = HeatmapLoss(foreground=5.0)(predicted, spots, intensities)
        predicted[0, 1] = value
        assert HeatmapLoss(foreground=5.0)(predicted, spots, intensities) == pytest.approx(float(clean))

    def test_nothing_labelled_is_zero_with_zero_gradient(self):
        predicted = torch.ones(1, 1, 2, 2, requires_grad=True)
        loss = HeatmapLoss()(predicted, torch.ones(1, 1, 2, 2), torch.tensor([[NAN]]))
        loss.backward()
        assert loss == 0
        assert predicted.grad.abs().sum() == 0

    def test_gradient(self):
        spots = features(2, 3, 4, 4, seed=1).abs()
        intensities = torch.tensor([[1.0, NAN, 3.0], [0.0, 5.0, NAN]], dtype=torch.float64)
        predicted = features(2, 3, 4, 4).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: HeatmapLoss(foreground=7.0)(x, spots, intensities), predicted)


class TestFeatureMapLoss:
    def test_by_hand(self):
        student, teacher = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 2.0]]]])
        assert FeatureMapLoss()(student, teacher) == pytest.approx(2.0)

    def test_temperature_by_hand(self):
        # softmax over positions: teacher (1/2, 1/2), student (3/4, 1/4) at temperature 2
        student = torch.tensor([[[[2 * math.log(3.0), 0.0]]]])
        expected = 4 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
        assert FeatureMapLoss(temperature=2.0)(student, torch.zeros(1, 1, 1, 2)) == pytest.approx(expected)

    @pytest.mark.parametrize("temperature", [None, 3.0])
    def test_gradient(self, temperature):
        teacher = features(2, 3, 2, 2, seed=1)
        loss = FeatureMapLoss(temperature=temperature)
        assert torch.autograd.gradcheck(lambda x: loss(x, teacher), features(2, 3, 2, 2).requires_grad_())


class TestRegionWiseLoss:
    def test_by_hand(self):
        # Two positions of two channels. Teacher: orthogonal, R = identity; student: parallel, R all ones.
        teacher = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
        student = torch.tensor([[[[1.0, 3.0]], [[1.0, 3.0]]]])
        assert RegionWiseLoss()(student, teacher) == pytest.approx(2 / 4, abs=1e-5)

    def test_widths_may_differ_and_scale_does_not_matter(self):
        student, teacher = features(2, 3, 4, 4), features(2, 7, 4, 4, seed=1)
        loss = RegionWiseLoss()
        assert loss(student, teacher) == pytest.approx(float(loss(student * 9, teacher * 0.3)), abs=1e-6)

    def test_rotating_the_channels_changes_nothing(self):
        teacher = features(2, 4, 3, 3)
        rotation = torch.linalg.qr(features(4, 4, seed=2)).Q
        assert RegionWiseLoss()(torch.einsum("dc,nchw->ndhw", rotation, teacher), teacher) == pytest.approx(
            0, abs=1e-12
        )

    def test_relations_lie_inside_one_face(self):
        student, teacher = features(3, 4, 3, 3), features(3, 4, 3, 3, seed=1)
        loss = RegionWiseLoss()
        alone = torch.stack([loss(student[i : i + 1], teacher[i : i + 1]) for i in range(3)]).mean()
        assert loss(student, teacher) == pytest.approx(float(alone))

    def test_pools_to_the_grid(self):
        assert RegionWiseLoss(grid=4).relations(features(2, 5, 16, 16)).shape == (2, 16, 16)

    def test_centred_ignores_a_common_offset(self):
        teacher = features(2, 4, 3, 3)
        offset = features(2, 4, 1, 1, seed=5)
        assert RegionWiseLoss(centred=True)(teacher + offset, teacher) == pytest.approx(0, abs=1e-10)
        assert RegionWiseLoss()(teacher + offset, teacher) > 1e-3

    @pytest.mark.parametrize("centred", [False, True])
    def test_gradient(self, centred):
        teacher, loss = features(2, 3, 2, 2, seed=1), RegionWiseLoss(centred=centred)
        assert torch.autograd.gradcheck(lambda x: loss(x, teacher), features(2, 4, 2, 2).requires_grad_())


class TestChannelWiseLoss:
    def test_by_hand(self):
        # Teacher: channels orthogonal, K = identity; student: parallel, K all ones: two of four entries differ by one.
        teacher = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
        student = torch.tensor([[[[1.0, 1.0]], [[3.0, 3.0]]]])
        assert ChannelWiseLoss()(student, teacher) == pytest.approx(2 / 4, abs=1e-5)

    def test_scale_of_a_channel_and_order_of_positions_do_not_matter(self):
        teacher = features(2, 4, 3, 3)
        gains = torch.rand(1, 4, 1, 1, dtype=torch.float64) + 0.5
        shuffled = teacher.flatten(2)[:, :, torch.randperm(9)].unflatten(2, (3, 3))
        assert ChannelWiseLoss()(shuffled * gains, teacher) == pytest.approx(0, abs=1e-10)

    def test_the_order_of_channels_matters(self):
        teacher = features(2, 4, 3, 3)
        assert ChannelWiseLoss()(teacher[:, [1, 0, 2, 3]], teacher) > 1e-3

    def test_grids_may_differ(self):
        assert ChannelWiseLoss()(features(2, 4, 2, 2), features(2, 4, 8, 8)).shape == ()

    @pytest.mark.parametrize("centred", [False, True])
    def test_gradient(self, centred):
        teacher, loss = features(2, 3, 2, 2, seed=1), ChannelWiseLoss(centred=centred)
        assert torch.autograd.gradcheck(lambda x: loss(x, teacher), features(2, 3, 3, 3).requires_grad_())


@pytest.mark.parametrize(
    "loss", [FeatureMapLoss(), FeatureMapLoss(temperature=2.0), RegionWiseLoss(), ChannelWiseLoss()]
)
class TestEveryDistillationLoss:
    def test_zero_for_equal_stages(self, loss):
        same = features(2, 3, 4, 4)
        assert loss(same, same) == pytest.approx(0, abs=1e-12)

    def test_teacher_gets_no_gradient(self, loss):
        teacher = features(2, 3, 4, 4, seed=1).requires_grad_()
        loss(features(2, 3, 4, 4).requires_grad_(), teacher).backward()
        assert teacher.grad is None

    def test_float32_under_autocast(self, loss):
        student, teacher = features(2, 3, 4, 4).float(), features(2, 3, 4, 4, seed=1).float()
        plain = loss(student, teacher)
        with torch.autocast("cpu", torch.bfloat16):
            inside = loss(student, teacher)
        assert inside.dtype == torch.float32
        assert inside == plain

    def test_dead_features_give_finite_gradients(self, loss):
        student = torch.zeros(1, 3, 4, 4, requires_grad=True)
        loss(student, torch.rand(1, 3, 4, 4)).backward()
        assert torch.isfinite(student.grad).all()
