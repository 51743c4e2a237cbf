"""What a face is covered with: skin, brows, lashes, hair, iris, teeth; from a folder of assets, or procedural."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import DataError

from .accessories import Glasses, draw_glasses
from .complexion import BEARDS, Brow, Complexion
from .meshes import Binding, FloatArray, Surface, read_binding, read_obj, surface
from .rigs.base import Identity
from .rigs.makehuman import base_mesh
from .wrinkles import Creases

Colour = tuple[float, float, float]  # linear RGB
_TEXTURE_SIDE = 1024
#: Skin from light to dark, and the stretch of it in which an ancestry lies.
_SKIN: tuple[Colour, ...] = (
    (0.88, 0.66, 0.54), (0.78, 0.53, 0.40), (0.58, 0.36, 0.24), (0.36, 0.20, 0.125), (0.18, 0.095, 0.060),
    (0.070, 0.038, 0.026),
)  # fmt: skip
_STRETCH = {"caucasian": (0.0, 0.40), "asian": (0.12, 0.50), "african": (0.52, 1.0)}
_HAIR: tuple[Colour, ...] = (
    (0.012, 0.010, 0.009), (0.03, 0.018, 0.012), (0.09, 0.045, 0.022), (0.22, 0.12, 0.05),
    (0.45, 0.30, 0.14), (0.28, 0.09, 0.03), (0.40, 0.39, 0.38), (0.62, 0.61, 0.60),
)  # fmt: skip
#: The hairline of drawn hair: depth (z) and height (y) on the canonical head, from the nape to the forehead.
HAIRLINE = (
    (-0.4, 6.55), (0.0, 6.78), (0.2, 7.05), (0.35, 7.40), (0.55, 7.36), (0.68, 7.20), (1.0, 7.72), (1.36, 7.95),
)  # fmt: skip
_HAIR_BELOW = 0.4  # of the skin's colour; brows paler than that are not seen
_GLASSES = 0.12  # share of people
_IRIS: tuple[Colour, ...] = (
    (0.10, 0.04, 0.015),
    (0.05, 0.02, 0.01),
    (0.12, 0.22, 0.38),
    (0.14, 0.22, 0.10),
    (0.25, 0.28, 0.30),
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A mesh bound to the base mesh, with its texture."""

    name: str
    path: Path
    binding: Binding
    surface: Surface
    texture: Path
    over_eyes: bool  # hangs before an eye of the base mesh


@dataclass(frozen=True, slots=True)
class Look:
    """Everything about a face that is neither shape nor expression."""

    skin: Path | None  # texture; None = procedural
    skin_tint: Colour
    lip_tint: Colour
    gloss: float
    hand_colour: Colour
    hair_colour: Colour
    brow_colour: Colour
    beard_colour: Colour
    brow: Asset | None  # None: drawn, as the complexion says
    lashes: Asset | None  # None: drawn
    lash_cover: float
    hair: Asset | None
    cap_density: float  # of hair drawn on the scalp; 0 none
    cap_thickness: float  # decimetres
    iris: Colour
    complexion: Complexion
    creases: Creases
    glasses: Glasses | None
    teeth_tint: Colour

    def summary(self) -> dict[str, str]:
        """Names of the parts, for splits that hold looks out."""
        names = {"brow": self.brow, "lashes": self.lashes, "hair": self.hair}
        parts = {key: asset.name if asset else "procedural" for key, asset in names.items()}
        worn = {"glasses": "yes" if self.glasses else "no", "beard": self.complexion.beard}
        if self.hair is None and self.cap_density == 0:
            parts["hair"] = "none"
        return {"skin": self.skin.stem if self.skin else "procedural", **parts, **worn}


class Wardrobe:
    """Draws looks; with a MakeHuman asset folder from its textures and meshes, without one procedurally."""

    def __init__(self, assets: Path | None) -> None:
        """List the assets.

        Raises:
            DataError: the folder holds none of skins/, eyebrows/, eyelashes/, hair/.
        """
        self.skins = sorted(assets.glob("skins/**/*.png")) if assets else []
        self.parts = {
            kind: sorted(assets.glob(f"{kind}/*/*.mhclo")) if assets else []
            for kind in ("eyebrows", "eyelashes", "hair")
        }
        if assets and not (self.skins or any(self.parts.values())):
            raise DataError(
                f"{assets} holds no MakeHuman assets (skins/, eyebrows/, eyelashes/, hair/). "
                "Name such a folder with --assets, or leave the option out for procedural looks."
            )

    def draw(self, identity: Identity, rng: np.random.Generator) -> Look:
        """Draw a look that goes with an identity, and with any where the rig does not say who that is."""
        race = identity.race or ("african", "asian", "caucasian")[int(rng.integers(3))]
        female = bool(rng.random() < 0.5) if identity.female is None else identity.female
        age = float(rng.beta(1.0, 1.6)) if identity.age is None else identity.age
        known = replace(identity, race=race, female=female, age=age)
        skin = self._skin(known, rng) if self.skins and rng.random() < 0.65 else None
        tone = _skin_tone(race, rng)
        tint = tone
        if skin:
            level = float(rng.uniform(0.75, 1.15))
            tint = (level * float(rng.uniform(0.97, 1.05)), level, level * float(rng.uniform(0.94, 1.04)))
        hair = _hair_colour(race, age, rng)
        brow = self._part("eyebrows", rng, 0.45)
        worn = self._hair(rng)
        cap = worn is None and rng.random() < (0.9 if female else 0.75)
        lips = float(rng.uniform(0.55, 0.9))
        dark = max(tone) < 0.3 or race != "caucasian"
        bearded = not female and rng.random() < 0.45
        return Look(
            skin=skin,
            skin_tint=tint,
            lip_tint=(float(rng.uniform(0.85, 1.05)), lips, lips * float(rng.uniform(1.0, 1.12))),
            gloss=float(rng.uniform(0.02, 0.22)),
            hand_colour=tone,
            hair_colour=hair,
            brow_colour=_below(_scaled(hair, float(rng.uniform(0.8, 2.0)), 0.42), tone),
            beard_colour=_below(_scaled(hair, float(rng.uniform(0.8, 1.6)), 0.45), tone),
            brow=brow,
            lashes=self._part("eyelashes", rng, 0.6 if female else 0.3),
            lash_cover=float(rng.uniform(0.35, 0.95) if female else rng.uniform(0.15, 0.6)),
            hair=worn,
            cap_density=float(rng.uniform(0.75, 1.0)) if cap else 0.0,
            cap_thickness=float(rng.uniform(0.02, 0.16)),
            iris=_IRIS[int(rng.integers(2 if dark else len(_IRIS)))],
            complexion=Complexion(
                seed=int(rng.integers(2**31)),
                brow=None if brow else _brow(female, rng),
                beard=tuple(BEARDS)[int(rng.integers(1, len(BEARDS)))] if bearded else "none",
                beard_density=float(rng.beta(1.2, 1.6)),
                freckles=float(rng.beta(0.4, 2.0)),
                moles=int(rng.integers(0, 5)),
                blotches=float(rng.uniform(0.1, 0.6)),
                pores=float(rng.uniform(0.2, 1.2)),
            ),
            creases=Creases(
                strength=float(rng.uniform(0.55, 1.0)) * (0.8 + 0.7 * age),
                rest=float(np.clip(age * rng.uniform(0.4, 1.2), 0, 1)),
                seed=int(rng.integers(2**31)),
            ),
            glasses=draw_glasses(rng) if rng.random() < _GLASSES else None,
            teeth_tint=_colour(rng.uniform(0.8, 1.1) * np.array([1.0, rng.uniform(0.93, 1.0), rng.uniform(0.78, 1.0)])),
        )

    def _skin(self, identity: Identity, rng: np.random.Generator) -> Path:
        """A texture of the identity's ancestry if there is one (names say it), any otherwise."""
        fitting = [path for path in self.skins if identity.race in path.stem.split("_")] or self.skins
        sex = "_female" if identity.female else "_male"
        narrower = [path for path in fitting if sex in path.name] or fitting
        return narrower[int(rng.integers(len(narrower)))]

    def _hair(self, rng: np.random.Generator) -> Asset | None:
        """Hair or a bald head; styles that hang over an eye are rare."""
        paths = self.parts["hair"]
        if not paths or rng.random() < 0.15:
            return None
        shares = np.array([0.05 if load_asset(path).over_eyes else 1.0 for path in paths])
        return load_asset(paths[int(rng.choice(len(paths), p=shares / shares.sum()))])

    def _part(self, kind: str, rng: np.random.Generator, chance: float) -> Asset | None:
        paths = self.parts[kind]
        pick = rng.random()
        return load_asset(paths[int(rng.integers(len(paths)))]) if paths and pick < chance else None


@lru_cache(maxsize=64)
def load_asset(path: Path) -> Asset:
    """Read a bound mesh and find its texture beside it.

    Raises:
        DataError: the mesh or the texture is missing, or the mesh is damaged.
    """
    meshes, textures = sorted(path.parent.glob("*.obj")), sorted(path.parent.glob("*.png"))
    if not meshes or not textures:
        raise DataError(f"{path.parent} lacks an .obj or a .png beside {path.name}: the asset is incomplete.")
    try:
        mesh, binding = read_obj(meshes[0]), read_binding(path)
        part = surface(np.concatenate(list(mesh.groups.values())), mesh.texture)
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{path.parent} is damaged ({error}). Copy the asset again, or take it out of --assets."
        ) from error
    if len(binding.indices) <= part.source.max() or binding.highest >= len(base_mesh().positions):
        raise DataError(
            f"{path} binds its mesh to vertices that are not there: the asset is damaged, or made for another base "
            "mesh. Copy it again, or take it out of --assets."
        )
    x, y, z = mesh.positions.T
    over_eyes = bool(((np.abs(np.abs(x) - 0.31) < 0.2) & (np.abs(y - 7.28) < 0.15) & (z > 1.2)).any())
    return Asset(path.stem, path, binding, part, textures[0], over_eyes)


def read_texture(path: Path) -> npt.NDArray[np.uint8]:
    """Texture as RGBA uint8, no larger than a small picture needs, bottom row first as OpenGL wants it.

    Raises:
        DataError: it is no picture.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8:
        raise DataError(f"The texture {path} cannot be read as a picture of 8 bits.")
    channels = 1 if image.ndim == 2 else image.shape[2]
    codes = {1: cv2.COLOR_GRAY2RGBA, 3: cv2.COLOR_BGR2RGBA, 4: cv2.COLOR_BGRA2RGBA}
    rgba = cv2.cvtColor(image, codes[channels])
    scale = _TEXTURE_SIDE / max(rgba.shape[:2])
    if scale < 1:
        rgba = cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(rgba[::-1])


@lru_cache(maxsize=1)
def drawn_lashes() -> Surface:
    """The upper lashes that the canonical head brings along, without a texture."""
    mesh = base_mesh()
    rows = [[mesh.groups[f"helper-{side}-eyelashes-{row}"] for row in (1, 2)] for side in "lr"]
    upper = [max(pair, key=lambda corners: mesh.positions[corners[:, :, 0], 1].mean()) for pair in rows]
    return surface(np.concatenate(upper), mesh.texture)


def scalp_height(rest: FloatArray) -> FloatArray:
    """How far above the hairline places of the canonical head `[K, 3]` lie, decimetres; the shader does the same."""
    depth, height = np.transpose(HAIRLINE)
    line = np.interp(rest[:, 2], depth, height)
    over: FloatArray = (rest[:, 1] - line).astype(np.float32)
    ears = (np.abs(rest[:, 0]) > 0.79) & (rest[:, 1] < 7.5)
    over[ears] = -1
    return over


def _skin_tone(race: str, rng: np.random.Generator) -> Colour:
    low, high = _STRETCH[race]
    at = (low + (high - low) * float(rng.beta(1.4, 1.4))) * (len(_SKIN) - 1)
    tone = np.exp([np.interp(at, range(len(_SKIN)), np.log([colour[c] for colour in _SKIN])) for c in range(3)])
    return _colour(tone * rng.uniform(0.93, 1.07, 3))


def _hair_colour(race: str, age: float, rng: np.random.Generator) -> Colour:
    grey = age > 0.6 and rng.random() < 0.7
    dark = race != "caucasian" and rng.random() < 0.94
    palette = _HAIR[-2:] if grey else _HAIR[:2] if dark else _HAIR[:-2]
    return palette[int(rng.integers(len(palette)))]


def _brow(female: bool, rng: np.random.Generator) -> Brow:  # noqa: FBT001 - a fact, not an option
    return Brow(
        width=float(rng.uniform(0.018, 0.034) if female else rng.uniform(0.026, 0.048)),
        density=float(rng.uniform(0.2, 1.0)),
        height=float(rng.uniform(-0.015, 0.045)),
        arch=float(rng.uniform(-1, 1)),
        length=float(rng.uniform(0.05, 0.09)),
    )


def _below(colour: Colour, skin: Colour) -> Colour:
    """A colour of hair that is darker than the skin it grows from."""
    return _colour([min(channel, _HAIR_BELOW * under) for channel, under in zip(colour, skin, strict=True)])


def _scaled(colour: Colour, factor: float, most: float) -> Colour:
    return _colour([min(channel * factor, most) for channel in colour])


def _colour(values: object) -> Colour:
    red, green, blue = (float(value) for value in values)  # type: ignore[attr-defined]
    return red, green, blue
