"""The graphics device: an off-screen OpenGL context, surfaces and textures on it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import RuntimeUnavailable

from .looks import read_texture
from .meshes import FloatArray, Surface

Indices = npt.NDArray[np.integer[Any]]
_TEXTURES = 48  # kept; a picture needs five


def make_context() -> Any:
    """An off-screen OpenGL context.

    Raises:
        RuntimeUnavailable: moderngl or an OpenGL library is missing.
    """
    try:
        import moderngl
    except ImportError as error:
        raise RuntimeUnavailable(
            'Rendering needs moderngl, which is not installed. Install it: `pip install "dsrfau-edge[synth]"`.'
        ) from error
    try:
        create: Any = moderngl.create_context  # its stub has another signature than the function
        return create(standalone=True, backend="egl")
    except Exception as error:  # moderngl and glcontext raise several bare kinds
        raise RuntimeUnavailable(
            f"No off-screen OpenGL here ({error}). On Debian or Ubuntu: "
            "`apt-get install libegl1 libgl1 libgl1-mesa-dri libgles2`."
        ) from error


@dataclass(slots=True)
class Part:
    """A surface on the graphics device."""

    array: Any
    depth: Any
    stream: Any
    buffers: tuple[Any, ...]
    source: Indices  # [K] position of each vertex
    first: Indices  # [W] one vertex of every position
    welded: Indices  # [K] its row among the W: seams of the texture split vertices, normals must not see that
    triangles: Indices  # [M, 3] into the W
    spread: Any  # sparse [W, M]: which triangles share a vertex
    content: npt.NDArray[np.float32]  # [K, 9] position, normal, rest

    def normals(self, positions: FloatArray) -> FloatArray:
        """Area-weighted unit normals `[K, 3]` of the vertices at positions `[K, 3]`."""
        a, b, c = (positions[self.first][self.triangles[:, corner]] for corner in range(3))
        u, v = b - a, c - a
        across = np.empty_like(u)
        across[:, 0] = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]
        across[:, 1] = u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
        across[:, 2] = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
        summed: FloatArray = self.spread @ across
        summed /= np.maximum(np.sqrt((summed * summed).sum(1, keepdims=True)), 1e-9)
        return summed[self.welded]

    def place(self, positions: FloatArray, rest: FloatArray | None, push: FloatArray | None = None) -> None:
        """Put the vertices at positions `[K, 3]`; `push` moves them along their normals, decimetres `[K]`."""
        normals = self.normals(positions)
        self.content[:, :3] = positions if push is None else positions + normals * push[:, None]
        self.content[:, 3:6] = normals
        if rest is not None:
            self.content[:, 6:] = rest
        self.stream.write(self.content.tobytes())

    def release(self) -> None:
        """Give the device's memory back."""
        for held in (self.array, self.depth, *self.buffers):
            held.release()


class Device:
    """Makes and keeps what lies on the graphics device; one per process."""

    def __init__(self) -> None:
        """Make the context."""
        self.context = make_context()
        self._textures: OrderedDict[Path, Any] = OrderedDict()
        self.plain = self.context.texture((1, 1), 4, b"\xff\xff\xff\xff")

    def program(self, name: str) -> Any:
        """Compile a pair of shaders."""
        shaders = Path(__file__).with_name("shaders")
        return self.context.program(
            vertex_shader=(shaders / f"{name}.vert").read_text("utf-8"),
            fragment_shader=(shaders / f"{name}.frag").read_text("utf-8"),
        )

    def part(self, surface: Surface, program: Any, depth: Any) -> Part:
        """Upload a surface, to be drawn by a program and, for shadows, by another."""
        from scipy.sparse import csr_matrix

        context, count = self.context, len(surface.source)
        stream = context.buffer(reserve=count * 9 * 4, dynamic=True)
        fixed = context.buffer(np.ascontiguousarray(surface.texture, np.float32).tobytes())
        index = context.buffer(np.ascontiguousarray(surface.triangles, np.int32).tobytes())
        content = [(stream, "3f 3f 3f", "position", "normal", "rest"), (fixed, "2f", "texture_at")]
        array = context.vertex_array(program, content, index, skip_errors=True)
        shadow = context.vertex_array(depth, [(stream, "3f 24x", "position")], index)
        _, first, welded = np.unique(surface.source, return_index=True, return_inverse=True)
        triangles = welded[surface.triangles]
        faces = np.tile(np.arange(len(triangles)), 3)
        ones = np.ones(len(faces), np.float32)
        spread = csr_matrix((ones, (triangles.T.ravel(), faces)), shape=(len(first), len(triangles)))
        empty = np.zeros((count, 9), np.float32)
        return Part(
            array, shadow, stream, (stream, fixed, index), surface.source, first, welded, triangles, spread, empty
        )

    def texture(self, path: Path) -> Any:
        """A texture in linear colours, read when it is first asked for."""
        texture = self._textures.get(path)
        if texture is None:
            image = read_texture(path)
            linear = (255 * (image[:, :, :3] / 255.0) ** 2.2).round().astype(np.uint8)
            rgba = np.dstack([linear, image[:, :, 3]])
            texture = self.context.texture(image.shape[1::-1], 4, np.ascontiguousarray(rgba).tobytes())
            texture.build_mipmaps()
            texture.filter = self.context.LINEAR_MIPMAP_LINEAR, self.context.LINEAR
            self._textures[path] = texture
        self._textures.move_to_end(path)
        while len(self._textures) > _TEXTURES:
            self._textures.popitem(last=False)[1].release()
        return texture
