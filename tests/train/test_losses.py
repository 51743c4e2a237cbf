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

    @pytest.mark.parametrize("value", [1.0, 1e9, float("inf"), NAN])
    def test_unlabelled_maps_get_no_gradient(self, value):
        predicted = torch.ones(2, 2, 3, 3)
        predicted[0, 1] = value
        predicted.requires_grad_()
        intensities = torch.tensor([[2.0, NAN], [1.0, 3.0]])
        HeatmapLoss(foreground=5.0)(predicted, torch.rand(2, 2, 3, 3), intensities).backward()
        assert (predicted.grad[0, 1] == 0).all()
        labelled = predicted.grad[torch.tensor([[True, False], [True, True]])]
        assert (labelled.abs().sum((1, 2)) > 0).all()
        assert torch.isfinite(labelled).all()

    def test_gradient_by_hand(self):
        predicted = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]], requires_grad=True)
        spots = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]])
        HeatmapLoss(foreground=2.0)(predicted, spots, torch.tensor([[4.0]])).backward()
        # 2 w (H' - H) / sum w: weights 3, 2, 1, 1; differences -3, -2, 0, 2
        torch.testing.assert_close(predicted.grad, torch.tensor([[[[-18.0, -8.0], [0.0, 4.0]]]]) / 7)

    def test_a_perfect_map_costs_nothing(self):
        spots, intensities = torch.rand(2, 3, 4, 4), torch.rand(2, 3) * 5
        assert HeatmapLoss(foreground=9.0)(spots * intensities[..., None, None], spots, intensities) == 0

    def test_gradient(self):
        spots = features(2, 3, 4, 4, seed=1).abs()
        intensities = torch.tensor([[1.0, NAN, 3.0], [0.0, 5.0, NAN]], dtype=torch.float64)
        predicted = features(2, 3, 4, 4).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: HeatmapLoss(foreground=7.0)(x, spots, intensities), predicted)


class TestFeatureMapLoss:
    def test_by_hand(self):
        student, teacher = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 2.0]]]])
        assert FeatureMapLoss()(student, teacher) == pytest.approx(2.0)

    def test_every_entry_counts_alike(self):
        student = torch.zeros(2, 2, 1, 2)
        teacher = torch.arange(8.0).reshape(2, 2, 1, 2)
        assert FeatureMapLoss()(student, teacher) == pytest.approx(sum(n * n for n in range(8)) / 8)

    def test_softmax_is_taken_over_positions_and_averaged_over_channels_and_faces(self):
        """An offset of a whole channel changes nothing; a second, equal channel or face leaves the mean as it is."""
        student, teacher = features(1, 1, 2, 3), features(1, 1, 2, 3, seed=1)
        loss = FeatureMapLoss(temperature=1.5)
        one = loss(student, teacher)
        assert one > 1e-3
        torch.testing.assert_close(loss(student + 7, teacher - 3), one)
        torch.testing.assert_close(loss(student.repeat(3, 4, 1, 1), teacher.repeat(3, 4, 1, 1)), one)

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

    def test_centred_by_hand(self):
        # Positions (1, 0), (3, 0), (2, 3) less their mean (2, 1): (-1, -1), (1, -1), (0, 2).
        # Cosines: 0 of the first two, -1 / sqrt(2) of each with the third.
        teacher = torch.tensor([[[[1.0, 3.0, 2.0]], [[0.0, 0.0, 3.0]]]], dtype=torch.float64)
        relation = -1 / math.sqrt(2)
        expected = torch.tensor([[1, 0, relation], [0, 1, relation], [relation, relation, 1]], dtype=torch.float64)
        loss = RegionWiseLoss(centred=True)
        torch.testing.assert_close(loss.relations(teacher)[0], expected, rtol=0, atol=1e-5)
        # A student whose positions are all alike has relation 0 everywhere, also of a position with itself.
        student = torch.ones(1, 2, 1, 3, dtype=torch.float64)
        assert loss(student, teacher) == pytest.approx((3 + 4 * 0.5) / 9, abs=1e-5)

    def test_pooling_by_hand(self):
        # Quarters of a 4x4 grid that hold (1, 0), (1, 0), (0, 1), (1, 1).
        quarters = torch.tensor([[[1.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]])
        stage = quarters.repeat_interleave(2, 1).repeat_interleave(2, 2)[None]
        stage[:, :, 0, 0], stage[:, :, 0, 1] = stage[:, :, 0, 0] + 0.5, stage[:, :, 0, 1] - 0.5  # same mean
        half = 1 / math.sqrt(2)
        expected = torch.tensor([[1, 1, 0, half], [1, 1, 0, half], [0, 0, 1, half], [half, half, half, 1]])
        torch.testing.assert_close(RegionWiseLoss(grid=2).relations(stage)[0], expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("centred", [False, True])
    def test_the_order_of_channels_does_not_matter(self, centred):
        student, teacher = features(2, 5, 3, 3), features(2, 4, 3, 3, seed=1)
        loss = RegionWiseLoss(centred=centred)
        before = loss(student, teacher)
        assert before > 1e-3
        torch.testing.assert_close(loss(student[:, [3, 0, 4, 2, 1]], teacher), before)

    @pytest.mark.parametrize("centred", [False, True])
    def test_the_order_of_positions_matters(self, centred):
        teacher = features(2, 4, 3, 3)
        assert RegionWiseLoss(centred=centred)(teacher.flip(3), teacher) > 1e-3

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

    def test_centred_by_hand(self):
        # Channels (1, 2, 3), (3, 2, 1), (0, 0, 3): correlations -1, sqrt(3)/2 and -sqrt(3)/2.
        teacher = torch.tensor([[[[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]], [[0.0, 0.0, 3.0]]]], dtype=torch.float64)
        slope = math.sqrt(3) / 2
        expected = torch.tensor([[1, -1, slope], [-1, 1, -slope], [slope, -slope, 1]], dtype=torch.float64)
        loss = ChannelWiseLoss(centred=True)
        torch.testing.assert_close(loss.relations(teacher)[0], expected, rtol=0, atol=1e-5)
        # The student's channels do not vary: relation 0 everywhere.
        student = torch.ones(1, 3, 1, 3, dtype=torch.float64)
        assert loss(student, teacher) == pytest.approx((3 + 2 + 4 * 0.75) / 9, abs=1e-5)

    def test_cosines_by_hand(self):
        # (3, 4) against (1, 0) and (0, 2): cosines 0.6 and 0.8.
        teacher = torch.tensor([[[[3.0, 4.0]], [[1.0, 0.0]], [[0.0, 2.0]]]])
        expected = torch.tensor([[1, 0.6, 0.8], [0.6, 1, 0], [0.8, 0, 1]])
        torch.testing.assert_close(ChannelWiseLoss().relations(teacher)[0], expected, rtol=0, atol=1e-5)

    def test_relations_lie_inside_one_face(self):
        student, teacher = features(3, 4, 3, 3), features(3, 4, 3, 3, seed=1)
        loss = ChannelWiseLoss()
        alone = torch.stack([loss(student[i : i + 1], teacher[i : i + 1]) for i in range(3)]).mean()
        assert loss(student, teacher) == pytest.approx(float(alone))

    @pytest.mark.parametrize("centred", [False, True])
    def test_the_order_of_positions_does_not_matter(self, centred):
        student, teacher = features(2, 4, 3, 3), features(2, 4, 3, 3, seed=1)
        loss = ChannelWiseLoss(centred=centred)
        before = loss(student, teacher)
        assert before > 1e-3
        order = torch.tensor([4, 1, 8, 0, 3, 7, 2, 6, 5])
        torch.testing.assert_close(loss(student.flatten(2)[:, :, order].unflatten(2, (3, 3)), teacher), before)

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


DISTILLATION = (
    FeatureMapLoss(),
    FeatureMapLoss(temperature=2.0),
    RegionWiseLoss(),
    RegionWiseLoss(centred=True),
    ChannelWiseLoss(),
    ChannelWiseLoss(centred=True),
)


@pytest.mark.parametrize(
    "loss", DISTILLATION, ids=["squared", "softmax", "region", "region-centred", "channel", "channel-centred"]
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

    @pytest.mark.parametrize("dead", [(slice(None),), (slice(None), 1), (0, slice(None), 2, 3)], ids=str)
    @pytest.mark.parametrize("whose", ["student", "teacher", "both"])
    def test_dead_features_give_numbers(self, loss, whose, dead):
        """All of them, one channel, one position; after a ReLU each of these is common."""
        student, teacher = features(2, 3, 4, 4).float(), features(2, 3, 4, 4, seed=1).float()
        for name, tensor in (("student", student), ("teacher", teacher)):
            if whose in (name, "both"):
                tensor[dead] = 0
        value = loss(student.requires_grad_(), teacher)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(student.grad).all()

    def test_dead_and_alike_is_zero(self, loss):
        dead = torch.zeros(2, 3, 4, 4)
        assert loss(dead.clone().requires_grad_(), dead) == 0

    def test_the_layout_in_memory_does_not_matter(self, loss):
        """Channels are channels also where they lie innermost: a reshape would relate other things."""
        student, teacher = features(2, 5, 4, 4), features(2, 5, 4, 4, seed=1)
        expected = loss(student, teacher)
        turned = [value.to(memory_format=torch.channels_last) for value in (student, teacher)]
        assert turned[0].stride() != student.stride()
        torch.testing.assert_close(loss(*turned), expected)
