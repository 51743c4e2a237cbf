"""OBJ files, targets and bound meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsrfau_edge.errors import DataError
from dsrfau_edge.train.synthesis.meshes import read_binding, read_obj, read_target, surface, vertex_normals

_OBJ = """# a quad and a triangle
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
g front
f 1/1 2/2 3/3 4/4
g corner
f 1/1 2/2 3/3
"""
_CLOTHES = """name test
x_scale 0 1 0.5
y_scale 0 3 1.0
z_scale 0 2 1.0
z_depth 5
verts 0
2
0 1 2 0.25 0.25 0.5 0.1 0.2 0.3
material some.mhmat
"""


def test_a_quad_becomes_two_triangles_and_a_triangle_stays_one(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text(_OBJ)
    mesh = read_obj(tmp_path / "a.obj")
    front, corner = (surface(mesh.groups[name], mesh.texture) for name in ("front", "corner"))
    assert len(front.triangles) == 2
    assert len(corner.triangles) == 1
    np.testing.assert_array_equal(front.texture[front.triangles[0, 1]], [1, 0])
    normals = vertex_normals(mesh.positions[front.source], front.triangles)
    np.testing.assert_allclose(normals, [[0, 0, 1]] * 4, atol=1e-6)


def test_a_target_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.target").write_text("# comment\n3 0.1 -0.2 0.3\n7 1 2 3\n")
    indices, deltas = read_target(tmp_path / "a.target")
    assert indices.tolist() == [3, 7]
    np.testing.assert_allclose(deltas[0], [0.1, -0.2, 0.3])


def test_a_bound_mesh_follows_its_base(tmp_path: Path) -> None:
    (tmp_path / "a.mhclo").write_text(_CLOTHES)
    binding = read_binding(tmp_path / "a.mhclo")
    base = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 2], [0, 1, 0]], np.float32)
    fitted = binding.fit(base)
    np.testing.assert_allclose(fitted[0], [0, 0, 2])
    # scales: x 1/0.5, y 1/1, z 2/1
    np.testing.assert_allclose(fitted[1], [0.25 + 0.2, 0.2, 1.0 + 0.6], rtol=1e-6)
    np.testing.assert_allclose(binding.fit(base + 1), fitted + 1, rtol=1e-6)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mhclo").write_text("name nothing\n")
    with pytest.raises(DataError, match="not a MakeHuman clothes file"):
        read_binding(tmp_path / "a.mhclo")
