"""Labelled crops for the accuracy gate: which fit, which do not, and what the gate does with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx")

from conftest import TINY_AUS, TINY_SITES, TINY_SIZE, smooth_crops  # noqa: E402

from dsrfau_edge.bundle import Bundle  # noqa: E402
from dsrfau_edge.errors import DataError, VerificationFailed  # noqa: E402
from dsrfau_edge.export.conversion import ExportOptions  # noqa: E402
from dsrfau_edge.export.labelled import load_labelled  # noqa: E402
from dsrfau_edge.export.pipeline import export  # noqa: E402
from dsrfau_edge.export.source import load_source  # noqa: E402
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE  # noqa: E402
from dsrfau_edge.runtimes.registry import choose  # noqa: E402
from dsrfau_edge.shards import Sample, ShardIndex, write_index, write_shard  # noqa: E402

ROOM = 4


def write_labelled(folder: Path, labels: Any, *, sites: tuple[str, ...] = TINY_SITES, **changes: Any) -> Path:
    """Prepared data whose crops are those of `smooth_crops`, with room around them."""
    folder.mkdir(parents=True)
    samples = []
    for number, (crop, row) in enumerate(zip(smooth_crops(len(labels), seed=5), labels, strict=True)):
        wide = cv2.copyMakeBorder(crop, ROOM, ROOM, ROOM, ROOM, cv2.BORDER_CONSTANT)
        encoded = cv2.imencode(".png", wide)[1].tobytes()
        centres = np.full((len(sites), 2), 20, np.float32)
        samples.append(Sample(f"{number:08d}", encoded, np.asarray(row, np.float32), centres, f"p{number}"))
    fields: dict[str, Any] = {
        "kind": "toy",
        "aus": tuple(dict.fromkeys(site.split("_")[0] for site in sites)),
        "sites": sites,
        "crop_size": TINY_SIZE + 2 * ROOM,
        "input_size": TINY_SIZE,
        "template": DEFAULT_TEMPLATE.to_dict(),
        "licence": "CC0-1.0",
    }
    index = ShardIndex(**{**fields, **changes})
    write_index(folder, replace(index, shards=(write_shard(folder, "shard-000000.tar", iter(samples)),)))
    return folder


@pytest.fixture(scope="module")
def right(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops whose labels are what the portable graph says of them: fp32 agrees perfectly."""
    said = choose(Bundle.open(tiny_bundle).model_files()).load().infer(smooth_crops(60, seed=5)).intensities
    return write_labelled(tmp_path_factory.mktemp("labelled") / "data", said)


def test_crops_are_the_networks_view_and_labels_are_by_au(tiny_checkpoint: Path, right: Path) -> None:
    source = load_source(tiny_checkpoint)
    loaded = load_labelled(source, right)
    np.testing.assert_array_equal(loaded.crops, smooth_crops(60, seed=5))
    assert loaded.labels.shape == (60, len(TINY_AUS))
    assert loaded.origin == "toy data, 60 crops"
    assert len(load_labelled(source, right, count=7).crops) == 7


def test_what_int8_costs_is_measured_reported_and_stored(tiny_checkpoint: Path, tmp_path: Path, right: Path) -> None:
    (report,) = export(tiny_checkpoint, "onnx", tmp_path / "a", ExportOptions(precision="int8", gate_data=right))
    assert report.gate is not None
    assert all(drop.before == 1 for drop in report.gate.aus.values()), "the labels are the portable graph's own words"
    assert all(0 < drop.drop < 0.2 for drop in report.gate.aus.values())
    assert "ICC(3,1) falls by" in "\n".join(report.lines())
    assert report.path is not None
    assert Bundle.open(report.path).manifest.gate == report.gate.to_dict()
    worst = report.gate.worst[1].drop
    with pytest.raises(VerificationFailed, match=r"(?s)of ICC\(3,1\) on toy data.*--keep-float"):
        export(
            tiny_checkpoint,
            "onnx",
            tmp_path / "b",
            ExportOptions(precision="int8", gate_data=right, max_drop=worst / 2),
        )
    assert not (tmp_path / "b").exists()
    options = ExportOptions(precision="int8", gate_data=right, max_drop=worst * 1.01)
    assert export(tiny_checkpoint, "onnx", tmp_path / "c", options)[0].written


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        (np.ones((4, 5)), {"input_size": 16}, "input of 16 pixels"),
        (np.ones((4, 5)), {"template": {"landmarks": [0], "points": [[0.5, 0.5]]}}, "aligned otherwise"),
        (np.full((4, 5), np.nan), {}, "labels none of the network's AUs"),
        (np.ones((4, 1)), {"sites": ("AU17",)}, "labels none of the network's AUs"),
        (np.ones((4, 5)), {"crop_size": 44}, "is no picture of 44x44"),
    ],
)
def test_what_does_not_fit(
    tiny_checkpoint: Path, tmp_path: Path, labels: Any, changes: dict[str, Any], message: str
) -> None:
    sites = changes.pop("sites", TINY_SITES)
    folder = write_labelled(tmp_path / "data", labels, sites=sites, **changes)
    with pytest.raises(DataError, match=message):
        load_labelled(load_source(tiny_checkpoint), folder)


def test_labels_that_never_vary_have_no_icc(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = write_labelled(tmp_path / "data", np.ones((4, 5)))
    with pytest.raises(DataError, match="No AU varies"):
        export(tiny_checkpoint, "onnx", tmp_path / "out", ExportOptions(gate_data=folder))
    assert not (tmp_path / "out").exists()
