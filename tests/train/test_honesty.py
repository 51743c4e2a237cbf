"""Two choices that are easily made wrong, with numbers: the scale of the targets, and what relations are taken of."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from dsrfau_edge.errors import UsageError  # noqa: E402
from dsrfau_edge.train.data.targets import draw_spots, spot_sigma  # noqa: E402
from dsrfau_edge.train.losses import ChannelWiseLoss, HeatmapLoss, RegionWiseLoss  # noqa: E402
from dsrfau_edge.train.networks.upsampler import STAGES  # noqa: E402
from dsrfau_edge.train.recipes import DistillationConfig  # noqa: E402

SIDE, GRID = 256, 64
#: Sites on grid points of the 64 grid: crop pixel = (grid point + 0.5) * 4 - 0.5.
_ON_GRID = (31, 27, 45)


def spots_at(*columns: float, row: float = 31) -> torch.Tensor:
    """Spots `[1, S, 64, 64]` of sigma 2 at these columns of the grid."""
    places = [[(x + 0.5) * SIDE / GRID - 0.5, (row + 0.5) * SIDE / GRID - 0.5] for x in columns]
    return draw_spots(torch.tensor([places]), SIDE, GRID)


class TestScaleOfTheTargets:
    """Targets of peak 0-5, not times 255: every published loss weight is for this scale."""

    @pytest.mark.parametrize("intensity", [0.5, 1.0, 3.0, 5.0])
    def test_what_predicting_zero_costs(self, intensity):
        assert spot_sigma(GRID) == 2
        spots = spots_at(31)
        zero = torch.zeros_like(spots)
        ours = float(HeatmapLoss()(zero, spots, torch.tensor([[intensity]])))
        scaled = float(HeatmapLoss()(zero, spots, torch.tensor([[255 * intensity]])))
        # The sum of exp(-r^2 / sigma^2) over the grid is pi sigma^2; the map has 64^2 pixels.
        assert ours == pytest.approx(math.pi * 4 / GRID**2 * intensity**2, rel=1e-4)
        assert ours == pytest.approx(0.00307 * intensity**2, rel=2e-3)
        assert scaled == pytest.approx(199.5 * intensity**2, rel=2e-3)

    def test_the_targets_are_of_that_scale(self):
        """The peak of what a network is trained towards is the intensity itself."""
        intensities = torch.tensor([[5.0, 1.5, 0.0]])
        targets = spots_at(*_ON_GRID) * intensities[..., None, None]
        torch.testing.assert_close(targets.amax((2, 3)), intensities)
        assert HeatmapLoss(foreground=60.0)(targets, spots_at(*_ON_GRID), intensities) == 0

    @pytest.mark.parametrize("relation", [RegionWiseLoss(), ChannelWiseLoss()], ids=["region", "channel"])
    def test_a_fixed_weight_means_255_squared_less(self, relation):
        """One hidden stage, the same head for both scales: the relation loss stays, the heatmap loss does not.

        So does each one's pull on the stage, which is what a loss weight weighs.
        """
        generator = torch.Generator().manual_seed(0)
        stage = torch.rand(1, 8, 16, 16, generator=generator, dtype=torch.float64).requires_grad_()
        taught = torch.rand(1, 8, 16, 16, generator=generator, dtype=torch.float64)
        head = torch.randn(3, 8, generator=generator, dtype=torch.float64)
        spots = torch.nn.functional.avg_pool2d(spots_at(*_ON_GRID), 4).double()
        intensities = torch.tensor([[4.0, 1.0, 2.5]], dtype=torch.float64)

        def ratios(scale: float) -> tuple[float, float]:
            maps = torch.einsum("sc,nchw->nshw", head * scale, stage)
            losses = HeatmapLoss()(maps, spots, intensities * scale), relation(stage, taught)
            pulls = [torch.autograd.grad(loss, stage, retain_graph=True)[0].norm() for loss in losses]
            assert all(value > 0 for value in (*losses, *pulls))
            return float(losses[0].detach() / losses[1].detach()), float(pulls[0] / pulls[1])

        for plain, scaled in zip(ratios(1.0), ratios(255.0), strict=True):
            assert scaled / plain == pytest.approx(255**2)


class TestRelationsOfOutputHeatmaps:
    """Cosines are blind to amplitude, and the amplitude of an output map is the intensity."""

    def test_a_wrong_intensity_goes_unseen(self):
        spots, intensities = spots_at(*_ON_GRID), torch.tensor([[4.0, 1.0, 2.0]])
        right = spots * intensities[..., None, None]
        wrong = right.clone()
        wrong[:, 0] *= 0.25
        assert ChannelWiseLoss()(wrong, right) == pytest.approx(0, abs=1e-10)
        assert HeatmapLoss()(wrong, spots, intensities) == pytest.approx(0.00307 * 3**2 / 3, rel=2e-3)
        # What a decode reads from them is one intensity against four.
        assert float(wrong[0, 0].max()) == pytest.approx(1.0)

    def test_a_face_at_a_fifth_of_all_its_intensities_goes_unseen_by_both(self):
        spots = spots_at(*_ON_GRID) + 0.01  # a floor, so that no position is empty
        right = spots * torch.tensor([[5.0, 2.0, 3.0]])[..., None, None]
        for relation in (ChannelWiseLoss(), RegionWiseLoss(grid=GRID)):
            assert relation(right * 0.2, right) == pytest.approx(0, abs=1e-7)
            assert relation(right.flip(1).transpose(2, 3), right) > 1e-4, "it does see sites that changed places"

    @pytest.mark.parametrize("distance", [0, 2, 4, 8])
    def test_neighbouring_sites_are_alike_whatever_they_do(self, distance):
        """Cosine of two spots: exp(-d^2 / 4 sigma^2), 0.37 at four pixels."""
        maps = spots_at(20, 20 + distance) * torch.tensor([5.0, 0.5])[None, :, None, None]
        cosine = float(ChannelWiseLoss().relations(maps)[0, 0, 1])
        assert cosine == pytest.approx(math.exp(-(distance**2) / 16), abs=1e-5)
        if distance == 4:
            assert cosine == pytest.approx(0.37, abs=0.005)

    @pytest.mark.parametrize("key", ["relation_stages", "feature_stages"])
    def test_only_hidden_stages_can_be_distilled(self, key):
        assert "heatmaps" not in STAGES
        with pytest.raises(UsageError, match="Unknown hidden stage 'heatmaps'"):
            DistillationConfig(**{key: ("heatmaps",)})
