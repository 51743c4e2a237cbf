"""What a face is covered with: skin, brows, lashes, hair, iris, teeth; from a folder of assets, or procedural."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import DataError

from .meshes import Binding, Surface, read_binding, read_obj, surface
from .rigs.base import Identity

Colour = tuple[float, float, float]  # linear RGB
_TEXTURE_SIDE = 1024
_SKIN_TONES: dict[str, tuple[Colour, Colour]] = {
    "african": ((0.10, 0.045, 0.025), (0.34, 0.19, 0.12)),
    "asian": ((0.42, 0.26, 0.17), (0.72, 0.52, 0.40)),
    "caucasian": ((0.45, 0.27, 0.19), (0.82, 0.60, 0.50)),
}
_HAIR: tuple[Colour, ...] = (
    (0.012, 0.010, 0.009), (0.03, 0.018, 0.012), (0.09, 0.045, 0.022), (0.22, 0.12, 0.05),
    (0.45, 0.30, 0.14), (0.28, 0.09, 0.03), (0.40, 0.39, 0.38), (0.62, 0.61, 0.60),
)  # fmt: skip
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
    grain: float
    hair_colour: Colour
    brow_colour: Colour
    brow: Asset | None  # None = procedural
    brow_width: float
    brow_density: float
    brow_height: float
    lashes: Asset | None
    hair: Asset | None
    iris: Colour
    beard: float
    wrinkles: float
    teeth_tint: Colour

    def summary(self) -> dict[str, str]:
        """Names of the parts, for splits that hold looks out."""
        names = {"brow": self.brow, "lashes": self.lashes, "hair": self.hair}
        parts = {key: asset.name if asset else "procedural" for key, asset in names.items()}
        return {"skin": self.skin.stem if self.skin else "procedural", **parts}


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
        """Draw a look that goes with an identity."""
        skin = self._skin(identity, rng) if self.skins and rng.random() < 0.7 else None
        tone = _SKIN_TONES[identity.race]
        share = float(rng.beta(1.6, 1.3))
        tint = tuple(float(a + (b - a) * share) * float(rng.uniform(0.93, 1.07)) for a, b in zip(*tone, strict=True))
        if skin:
            level = float(rng.uniform(0.75, 1.2))
            tint = (level * float(rng.uniform(0.97, 1.06)), level, level * float(rng.uniform(0.92, 1.04)))
        grey = identity.age > 0.6 and rng.random() < 0.7
        dark = identity.race != "caucasian" and rng.random() < 0.85
        palette = _HAIR[-2:] if grey else _HAIR[:2] if dark else _HAIR[:-2]
        hair = palette[int(rng.integers(len(palette)))]
        lighter = float(rng.uniform(0.7, 2.2))
        lips = float(rng.uniform(0.5, 0.9))
        iris = _IRIS[int(rng.integers(2))] if dark else _IRIS[int(rng.integers(len(_IRIS)))]
        return Look(
            skin=skin,
            skin_tint=_colour(tint),
            lip_tint=(float(rng.uniform(0.85, 1.05)), lips, lips * float(rng.uniform(1.0, 1.15))),
            gloss=float(rng.uniform(0.02, 0.30)),
            grain=float(rng.uniform(0.02, 0.16)),
            hair_colour=hair,
            brow_colour=_colour([min(channel * lighter, 0.5) for channel in hair]),
            brow=self._part("eyebrows", rng, 0.55),
            brow_width=float(rng.uniform(0.024, 0.052)),
            brow_density=float(rng.uniform(0.3, 0.9)),
            brow_height=float(rng.uniform(-0.025, 0.045)),
            lashes=self._part("eyelashes", rng, 0.7 if identity.female else 0.4),
            hair=self._hair(rng),
            iris=iris,
            beard=0.0 if identity.female or rng.random() < 0.6 else float(rng.uniform(0.05, 0.5)),
            wrinkles=float(rng.uniform(0.35, 1.0)) * (0.7 + 0.9 * identity.age),
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


def _colour(values: object) -> Colour:
    red, green, blue = (float(value) for value in values)  # type: ignore[attr-defined]
    return red, green, blue
