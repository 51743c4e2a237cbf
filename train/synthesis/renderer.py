"""Draws one face off screen with OpenGL 3.3 through EGL; software GL serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import chart
from .accessories import Item, glasses_items, occluder_item
from .detail import SLOPE_RANGE, DetailMap
from .graphics import Device, Indices, Part
from .looks import HAIRLINE, Asset, Look, drawn_lashes, scalp_height
from .meshes import FloatArray, Surface
from .rigs.base import Identity, Rig, eye_centres
from .rigs.makehuman import canonical_texture
from .scene import Scene, Vector, backdrop

SIDE = 320  # pixels; the crop for an input of 128 is half as wide
EYE_DISTANCE = 46 / 224  # of a frontal face, in sides of the picture
_A_POINT_BEHIND = np.array([0.0, -0.28, 0.15], np.float32)  # from between the eyes to the centre of the crop
_SHADOW_SIDE, _REACH = 384, 1.9  # texels, and decimetres around the pivot that they cover
_MATERIALS = {"skin": 0, "eyes": 1, "teeth": 2, "tongue": 3}
_COVER, _PLAIN, _LASHES = 4, 5, 6
_UNITS = {"albedo": 0, "lip_mask": 1, "detail": 2, "tone": 3, "shadow": 4}
_DARK: Vector = (0.012, 0.010, 0.010)


class Renderer:
    """Renders posed heads of one rig."""

    def __init__(self, rig: Rig, side: int = SIDE, *, device: Device | None = None) -> None:
        """Compile the shaders and upload the fixed parts.

        Args:
            rig: whose heads.
            side: of the picture, pixels.
            device: to share among renderers; contexts of their own would be in each other's way.
        """
        self._device = device or Device()
        self._context = context = self._device.context
        self._rig, self._side = rig, side
        self._program, self._depth = self._device.program("face"), self._device.program("depth")
        self._parts = {name: self._part(part) for name, part in rig.surfaces.items()}
        self._scalp = scalp_height(rig.rest[rig.surfaces["skin"].source])
        self._lashes = self._part(drawn_lashes())
        self._assets: dict[Path, Part] = {}
        self._maps = DetailMap(rig)
        self._tone_of: Any = None
        self._detail = context.texture((chart.WIDTH, chart.HEIGHT), 4)
        self._tone = context.texture((chart.WIDTH, chart.HEIGHT), 4)
        for texture in (self._detail, self._tone):
            texture.filter = context.LINEAR, context.LINEAR
            texture.repeat_x = texture.repeat_y = False
        self._shadow = context.depth_texture((_SHADOW_SIDE, _SHADOW_SIDE))
        self._shadow.compare_func = "<="
        self._shadow_frame = context.framebuffer(depth_attachment=self._shadow)
        # No multisampling: on software GL it costs three times as much as drawing larger and shrinking with the crop.
        self._frame = context.simple_framebuffer((side, side), 4)
        self._constants()

    @property
    def eye_distance_px(self) -> float:
        """Distance between the eyes of a frontal face, pixels."""
        return EYE_DISTANCE * self._side

    def render(
        self, identity: Identity, positions: FloatArray, look: Look, scene: Scene, intensities: Mapping[str, float]
    ) -> npt.NDArray[np.uint8]:
        """Picture `[side, side, 3]` in BGR of positions `[V, 3]` under a look and a scene."""
        context = self._context
        context.enable(context.DEPTH_TEST)
        context.disable(context.BLEND)
        self._set_scene(identity, scene)
        self._set_look(look, intensities)
        self._place(positions, look, scene)
        worn, glass = self._worn(identity, look, scene)
        self._cast(worn)
        self._frame.use()
        context.clear(0.0, 0.0, 0.0, 0.0)
        self._draw_head(look)
        for part, item in worn:
            self._draw_item(part, item)
        context.enable(context.BLEND)
        context.blend_func = context.ONE, context.ONE_MINUS_SRC_ALPHA
        self._draw_hair(positions, look)
        for part, item in glass:
            self._draw_item(part, item)
        for part, _ in (*worn, *glass):
            part.release()
        raw = np.frombuffer(self._frame.read(components=4), np.uint8).reshape(self._side, self._side, 4)[::-1]
        alpha = raw[:, :, 3:].astype(np.float32) / 255
        picture = raw[:, :, 2::-1] + backdrop(scene.background, self._side) * (1 - alpha)
        return np.clip(picture, 0, 255).astype(np.uint8)

    def project(self, identity: Identity, points: FloatArray, scene: Scene) -> FloatArray:
        """Pixel positions `[N, 2]` of rig positions `[N, 3]`."""
        view = points @ scene.turn.T + self._shift(identity, scene)
        focal, middle = self.focal(identity, scene), self._side / 2 - 0.5
        x, y = middle + focal * view[:, 0] / -view[:, 2], middle - focal * view[:, 1] / -view[:, 2]
        return np.stack([x, y], 1).astype(np.float32)

    def focal(self, identity: Identity, scene: Scene) -> float:
        """Focal length, pixels: faces are equally large whatever the distance."""
        return self.eye_distance_px * scene.distance / identity.eye_distance

    def _shift(self, identity: Identity, scene: Scene) -> FloatArray:
        pivot = eye_centres(self._rig, identity.neutral).mean(0) + _A_POINT_BEHIND
        shift: FloatArray = np.array([0, 0, -scene.distance], np.float32) - scene.turn @ pivot.astype(np.float32)
        return shift

    def _part(self, part: Surface) -> Part:
        return self._device.part(part, self._program, self._depth)

    def _constants(self) -> None:
        program = self._program
        for name, unit in _UNITS.items():
            program[name].value = unit
        program["hairline"].value = HAIRLINE
        program["axis_z"].value, program["angle_range"].value = chart.AXIS_Z, chart.ANGLE
        program["height_range"].value, program["slope_range"].value = (chart.LOW, chart.HIGH), SLOPE_RANGE

    def _set_scene(self, identity: Identity, scene: Scene) -> None:
        focal = 2 * self.focal(identity, scene) / self._side
        near, far = scene.distance - 3, scene.distance + 4
        projection = np.zeros((4, 4), np.float32)
        projection[0, 0] = projection[1, 1] = focal
        projection[2, 2], projection[2, 3] = (far + near) / (near - far), 2 * far * near / (near - far)
        projection[3, 2] = -1
        self._program["projection"].write(projection.T.tobytes())
        towards = _basis(scene.lights[0][0])
        for program in (self._program, self._depth):
            program["turn"].write(scene.turn.T.tobytes())
            program["shift"].value = tuple(map(float, self._shift(identity, scene)))
            program["centre"].value = (0.0, 0.0, -scene.distance)
            program["to_light"].write(towards.T.tobytes())
            program["reach"].value = _REACH
        program = self._program
        lights = [*scene.lights, *[((0.0, 0.0, 1.0), (0.0, 0.0, 0.0))] * (4 - len(scene.lights))]
        program["lights"].value = len(scene.lights)
        program["light_direction"].value = [direction for direction, _ in lights]
        program["light_colour"].value = [colour for _, colour in lights]
        program["shade"].value = scene.shade
        program["sky_colour"].value, program["ground_colour"].value = scene.sky_colour, scene.ground_colour

    def _set_look(self, look: Look, intensities: Mapping[str, float]) -> None:
        program = self._program
        program["gloss"].value = look.gloss
        program["lip_tint"].value, program["iris_colour"].value = look.lip_tint, look.iris
        program["brow_colour"].value, program["beard_colour"].value = look.brow_colour, look.beard_colour
        program["cap_colour"].value, program["cap"].value = look.hair_colour, look.cap_density
        program["textured"].value = look.skin is not None
        if self._tone_of != look.complexion:
            self._tone.write(np.ascontiguousarray(self._maps.tone(look.complexion)).tobytes())
            self._tone_of = look.complexion
        texels = self._maps.draw(look.complexion, look.creases, intensities)
        self._detail.write(np.ascontiguousarray(texels).tobytes())
        for texture, unit in ((self._detail, 2), (self._tone, 3), (self._shadow, 4)):
            texture.use(unit)
        self._device.texture(canonical_texture("lips")).use(1)

    def _place(self, positions: FloatArray, look: Look, scene: Scene) -> None:
        for name, part in self._parts.items():
            rest = (
                self._eye_directions(positions, part.source, scene) if name == "eyes" else self._rig.rest[part.source]
            )
            push = None
            if name == "skin" and look.cap_density > 0:
                push = look.cap_thickness * np.clip(self._scalp / 0.15, 0, 1).astype(np.float32)
            part.place(positions[part.source], rest, push)

    def _worn(
        self, identity: Identity, look: Look, scene: Scene
    ) -> tuple[list[tuple[Part, Item]], list[tuple[Part, Item]]]:
        """What is before the face: opaque things, and glass."""
        items: list[Item] = []
        if look.glasses or scene.occluder:
            canonical = self._rig.canonical(identity.neutral)
            eyes = eye_centres(self._rig, identity.neutral)
            if look.glasses:
                items += glasses_items(look.glasses, canonical, eyes)
            if scene.occluder:
                items.append(occluder_item(scene.occluder, canonical, eyes, look.hand_colour))
        opaque: list[tuple[Part, Item]] = []
        glass: list[tuple[Part, Item]] = []
        for item in items:
            every = np.arange(len(item.positions), dtype=np.int32)
            part = self._part(Surface(every, np.zeros((len(every), 2), np.float32), item.triangles))
            part.place(item.positions, np.zeros_like(item.positions))
            (opaque if item.cover == 1 else glass).append((part, item))
        return opaque, glass

    def _cast(self, worn: list[tuple[Part, Item]]) -> None:
        self._shadow_frame.use()
        self._context.clear(depth=1.0)
        for part in (self._parts["skin"], *(part for part, _ in worn)):
            part.depth.render()

    def _draw_head(self, look: Look) -> None:
        program = self._program
        program["cover"].value = 1.0
        tints = {"skin": look.skin_tint, "teeth": look.teeth_tint}
        for name, part in self._parts.items():
            texture = self._device.texture(look.skin) if name == "skin" and look.skin else self._device.plain
            texture.use(0)
            program["material"].value = _MATERIALS[name]
            program["tint"].value = tints.get(name, (1.0, 1.0, 1.0))
            part.array.render()

    def _draw_item(self, part: Part, item: Item) -> None:
        program = self._program
        self._device.plain.use(0)
        program["material"].value, program["tint"].value = _PLAIN, item.colour
        program["cover"].value, program["gloss"].value = item.cover, item.gloss
        part.array.render()

    def _draw_hair(self, positions: FloatArray, look: Look) -> None:
        program = self._program
        program["cover"].value, program["gloss"].value = 1.0, look.gloss
        canonical = self._rig.canonical(positions)
        if look.lashes is None:
            self._device.plain.use(0)
            program["material"].value, program["tint"].value = _LASHES, _DARK
            program["cover"].value = look.lash_cover
            held = canonical[self._lashes.source]
            self._lashes.place(held, self._lash_rest(held))
            self._lashes.array.render()
            program["cover"].value = 1.0
        for asset, colour, nearer in (
            (look.hair, look.hair_colour, 0.0),
            (look.brow, look.brow_colour, 0.012),
            (look.lashes, _DARK, 0.004),
        ):
            if asset is not None:
                self._draw_asset(asset, canonical, colour, nearer)

    def _lash_rest(self, held: FloatArray) -> FloatArray:
        """Lashes are drawn by their place across the eye."""
        rest = np.zeros_like(held)
        rest[:, 0] = held[:, 0]
        return rest

    def _draw_asset(self, asset: Asset, canonical: FloatArray, colour: Vector, nearer: float) -> None:
        part = self._assets.get(asset.path)
        if part is None:
            part = self._assets[asset.path] = self._part(asset.surface)
        held = asset.binding.fit(canonical)[asset.surface.source]
        held[:, 2] += nearer
        self._device.texture(asset.texture).use(0)
        self._program["material"].value, self._program["tint"].value = _COVER, colour
        part.place(held, None)
        part.array.render()

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


def _basis(direction: Vector) -> npt.NDArray[np.float32]:
    """Rotation `[3, 3]` into a space whose z points along a direction."""
    ahead = np.asarray(direction)
    aside = np.cross([0.0, 1.0, 0.0] if abs(ahead[1]) < 0.9 else [1.0, 0.0, 0.0], ahead)
    aside /= np.linalg.norm(aside)
    return np.stack([aside, np.cross(ahead, aside), ahead]).astype(np.float32)
