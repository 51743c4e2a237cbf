"""Draws one face off screen with OpenGL 3.3 through EGL; software GL serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import RuntimeUnavailable

from .looks import Asset, Look, read_texture
from .meshes import FloatArray, Surface, vertex_normals
from .rigs.base import Identity, Rig, eye_centres
from .rigs.makehuman import canonical_texture
from .scene import Scene, backdrop
from .strokes import pack, strokes

SIDE = 224
Indices = npt.NDArray[np.integer[Any]]
EYE_DISTANCE_PX = 46.0  # of a frontal face in the picture
_A_POINT_BEHIND = np.array([0.0, -0.28, 0.15], np.float32)  # from between the eyes to the centre of the crop
_SAMPLES = 4
_MATERIALS = {"skin": 0, "eyes": 1, "teeth": 2, "tongue": 3}
_COVER = 4


@dataclass(slots=True)
class _Part:
    """A surface on the graphics device."""

    array: Any
    stream: Any
    source: Indices  # [K] position of each vertex
    first: Indices  # [W] one vertex of every position
    welded: Indices  # [K] its row among the W: seams of the texture split vertices, normals must not see that
    triangles: Indices  # [M, 3] into the W


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


class Renderer:
    """Renders posed rigs; one per process."""

    def __init__(self, rig: Rig) -> None:
        """Make the context, compile the shaders and upload the fixed parts."""
        self._context = context = make_context()
        self._rig = rig
        shaders = Path(__file__).with_name("shaders")
        self._program = context.program(
            vertex_shader=(shaders / "face.vert").read_text("utf-8"),
            fragment_shader=(shaders / "face.frag").read_text("utf-8"),
        )
        self._parts = {name: self._part(part) for name, part in rig.surfaces.items()}
        self._assets: dict[Path, _Part] = {}
        self._textures: dict[Path, Any] = {}
        self._plain = context.texture((1, 1), 4, b"\xff\xff\xff\xff")
        self._lips = self._texture(canonical_texture("lips"))
        colour = context.renderbuffer((SIDE, SIDE), 4, samples=_SAMPLES)
        depth = context.depth_renderbuffer((SIDE, SIDE), samples=_SAMPLES)
        self._frame = context.framebuffer([colour], depth)
        self._resolved = context.simple_framebuffer((SIDE, SIDE), 4)

    def render(
        self, identity: Identity, positions: FloatArray, look: Look, scene: Scene, intensities: Mapping[str, float]
    ) -> npt.NDArray[np.uint8]:
        """Picture `[SIDE, SIDE, 3]` in BGR of positions `[V, 3]` under a look and a scene."""
        context = self._context
        self._frame.use()
        context.clear(0.0, 0.0, 0.0, 0.0)
        context.enable(context.DEPTH_TEST)
        context.disable(context.BLEND)
        self._set_scene(identity, scene)
        self._set_look(look, intensities)
        self._draw_base(positions, scene, look)
        context.enable(context.BLEND)
        context.blend_func = context.ONE, context.ONE_MINUS_SRC_ALPHA
        for asset, colour, nearer in (
            (look.hair, look.hair_colour, 0.0),
            (look.brow, look.brow_colour, 0.012),
            (look.lashes, (0.01, 0.01, 0.01), 0.004),
        ):
            if asset is not None:
                self._draw_asset(asset, positions, colour, nearer)
        context.copy_framebuffer(self._resolved, self._frame)
        raw = np.frombuffer(self._resolved.read(components=4), np.uint8).reshape(SIDE, SIDE, 4)[::-1]
        alpha = raw[:, :, 3:].astype(np.float32) / 255
        picture = raw[:, :, 2::-1] + backdrop(scene.background, SIDE) * (1 - alpha)
        return np.clip(picture, 0, 255).astype(np.uint8)

    def project(self, identity: Identity, points: FloatArray, scene: Scene) -> FloatArray:
        """Pixel positions `[N, 2]` of rig positions `[N, 3]`."""
        view = points @ scene.turn.T + self._shift(identity, scene)
        focal = self._focal(identity, scene)
        return np.stack(
            [SIDE / 2 - 0.5 + focal * view[:, 0] / -view[:, 2], SIDE / 2 - 0.5 - focal * view[:, 1] / -view[:, 2]], 1
        ).astype(np.float32)

    def _focal(self, identity: Identity, scene: Scene) -> float:
        return EYE_DISTANCE_PX * scene.distance / identity.eye_distance

    def _shift(self, identity: Identity, scene: Scene) -> FloatArray:
        eyes = eye_centres(self._rig, identity.neutral).mean(0)
        pivot = eyes + _A_POINT_BEHIND
        shift: FloatArray = np.array([0, 0, -scene.distance], np.float32) - scene.turn @ pivot.astype(np.float32)
        return shift

    def _set_scene(self, identity: Identity, scene: Scene) -> None:
        focal = 2 * self._focal(identity, scene) / SIDE
        near, far = scene.distance - 3, scene.distance + 4
        projection = np.zeros((4, 4), np.float32)
        projection[0, 0] = projection[1, 1] = focal
        projection[2, 2], projection[2, 3] = (far + near) / (near - far), 2 * far * near / (near - far)
        projection[3, 2] = -1
        program = self._program
        program["projection"].write(projection.T.tobytes())
        program["turn"].write(scene.turn.T.tobytes())
        program["shift"].value = tuple(map(float, self._shift(identity, scene)))
        for name in ("key_direction", "key_colour", "fill_direction", "fill_colour", "sky_colour", "ground_colour"):
            program[name].value = getattr(scene, name)

    def _set_look(self, look: Look, intensities: Mapping[str, float]) -> None:
        program = self._program
        program["gloss"].value, program["grain"].value = look.gloss, look.grain
        program["lip_tint"].value, program["iris_colour"].value = look.lip_tint, look.iris
        program["textured"].value = look.skin is not None
        ends, shape, colour, count = pack(strokes(look, intensities))
        program["stroke_ends"].write(ends)
        program["stroke_shape"].write(shape)
        program["stroke_colour"].write(colour)
        program["strokes"].value = count

    def _draw_base(self, positions: FloatArray, scene: Scene, look: Look) -> None:
        program = self._program
        program["albedo"].value, program["lip_mask"].value = 0, 1
        self._lips.use(1)
        tints = {"skin": look.skin_tint, "teeth": look.teeth_tint}
        for name, part in self._parts.items():
            texture = self._texture(look.skin) if name == "skin" and look.skin else self._plain
            texture.use(0)
            program["material"].value = _MATERIALS[name]
            program["tint"].value = tints.get(name, (1.0, 1.0, 1.0))
            source = part.source
            rest = self._eye_directions(positions, source, scene) if name == "eyes" else self._rig.rest[source]
            self._draw(part, positions[source], rest)

    def _draw_asset(
        self, asset: Asset, positions: FloatArray, colour: tuple[float, float, float], nearer: float
    ) -> None:
        part = self._assets.get(asset.path)
        if part is None:
            part = self._assets[asset.path] = self._part(asset.surface)
        held = asset.binding.fit(self._rig.canonical(positions))[asset.surface.source]
        held[:, 2] += nearer
        self._texture(asset.texture).use(0)
        self._program["material"].value = _COVER
        self._program["tint"].value = colour
        self._draw(part, held, np.zeros_like(held))

    def _eye_directions(self, positions: FloatArray, source: Indices, scene: Scene) -> FloatArray:
        """Where each vertex of an eyeball lies from its centre, with the gaze turned away."""
        yaw, pitch = np.deg2rad(scene.gaze)
        gaze = np.array(
            [
                [np.cos(yaw), 0, -np.sin(yaw)],
                [np.sin(pitch) * np.sin(yaw), np.cos(pitch), np.sin(pitch) * np.cos(yaw)],
                [np.cos(pitch) * np.sin(yaw), -np.sin(pitch), np.cos(pitch) * np.cos(yaw)],
            ],
            np.float32,
        )
        directions = np.zeros((len(source), 3), np.float32)
        for eye, centre in zip(self._rig.eyes, eye_centres(self._rig, positions), strict=True):
            inside = np.isin(source, eye)
            directions[inside] = (positions[source[inside]] - centre) @ gaze.T
        return directions

    def _part(self, part: Surface) -> _Part:
        stream = self._context.buffer(reserve=len(part.source) * 9 * 4, dynamic=True)
        fixed = self._context.buffer(np.ascontiguousarray(part.texture, np.float32).tobytes())
        index = self._context.buffer(np.ascontiguousarray(part.triangles, np.int32).tobytes())
        content = [(stream, "3f 3f 3f", "position", "normal", "rest"), (fixed, "2f", "texture_at")]
        array = self._context.vertex_array(self._program, content, index, skip_errors=True)
        _, first, welded = np.unique(part.source, return_index=True, return_inverse=True)
        return _Part(array, stream, part.source, first, welded, welded[part.triangles])

    def _draw(self, part: _Part, positions: FloatArray, rest: FloatArray) -> None:
        normals = vertex_normals(positions[part.first], part.triangles)[part.welded]
        part.stream.write(np.hstack([positions, normals, rest]).astype(np.float32).tobytes())
        part.array.render()

    def _texture(self, path: Path) -> Any:
        texture = self._textures.get(path)
        if texture is None:
            image = read_texture(path)
            linear = (255 * (image[:, :, :3] / 255.0) ** 2.2).round().astype(np.uint8)
            rgba = np.dstack([linear, image[:, :, 3]])
            texture = self._context.texture(image.shape[1::-1], 4, np.ascontiguousarray(rgba).tobytes())
            texture.build_mipmaps()
            texture.filter = self._context.LINEAR_MIPMAP_LINEAR, self._context.LINEAR
            self._textures[path] = texture
        return texture
