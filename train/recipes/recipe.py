"""The recipe's parts, and how one is read from a name or a file and `key=value` settings."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from dsrfau_edge.errors import UsageError

from ..data.augment import Augmentation
from ..data.splits import require_protocol
from ..networks.heatmap import NetworkConfig
from ..networks.upsampler import STAGES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FOLDER = Path(__file__).parent
ROLES = ("teacher", "student")
#: The recipe of the bundled student.
DEFAULT = "dsrfau-s"


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Splits, sampling and loading.

    `protocol` says which persons are held out (`train.data.splits`), `held_out` is the share of identities where it is
    theirs to say; `balance` is how strongly rare intensities are drawn more often (0 evenly, 1 fully); `weights` are
    the data folders' shares of the draws, in their order (by size where empty); `workers` are loading processes.
    """

    protocol: str = "identities"
    held_out: float = 0.15
    held_out_looks: bool = False
    balance: float = 0.5
    weights: tuple[float, ...] = ()
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UsageError(f"data.held_out is {self.held_out}: give a share between 0 and 1, as 0.15.")
        if not 0 <= self.balance <= 1 or self.workers < 0:
            raise UsageError("data.balance lies in 0–1 and data.workers is 0 or more.")
        if self.weights and (min(self.weights) < 0 or not 0 < sum(self.weights) < float("inf")):
            raise UsageError("data.weights are 0 or more, one per data folder, and not all of them 0.")
        require_protocol(self.protocol)

    def split_options(self) -> dict[str, Any]:
        """What `PreparedData.split` is told beside the split's name."""
        return {"held_out": self.held_out, "looks": self.held_out_looks, "protocol": self.protocol}


@dataclass(frozen=True, slots=True)
class RoleConfig:
    """How one network is built and trained.

    `frozen_stages` are the backbone's first stages (with the stem) that keep their ImageNet weights; `backbone_rate` is
    the backbone's share of `learning_rate`; `foreground` weights the spots in the heatmap loss; with `ema` above 0 what
    is evaluated and saved is the exponential moving average of the weights with that decay per step; with `spread`
    above 1 the intensities are spread like the labels in the end, by no more than that factor (`train.spread`).
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    epochs: int = 10
    batch: int = 48
    learning_rate: float = 2e-3
    backbone_rate: float = 0.5
    weight_decay: float = 0.02
    warmup: float = 0.08
    clip: float = 1.0
    frozen_stages: int = 2
    foreground: float = 60.0
    ema: float = 0.0
    spread: float = 1.0
    precision: str = "bf16-mixed"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not self.learning_rate > 0:
            raise UsageError("epochs, batch and learning_rate must be positive.")
        if self.frozen_stages < 0 or self.foreground < 0 or not 0 <= self.warmup < 1:
            raise UsageError("frozen_stages and foreground are 0 or more, warmup lies in 0–1.")
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema is {self.ema}: give a decay from 0 (no averaging) to below 1, as 0.999.")
        if not 1 <= self.spread <= 10:
            raise UsageError(f"spread is {self.spread}: give the largest factor, from 1 (none) to 10.")
        if self.frozen_stages and not self.network.pretrained:
            raise UsageError("Frozen stages need ImageNet weights: set frozen_stages=0 or network.pretrained=true.")


@dataclass(frozen=True, slots=True)
class DistillationConfig:
    """Weights a, b, c of the three distillation losses, and the hidden stages each compares.

    `temperature` 0 means the squared error; `grid` is the side of the region-wise loss's grid.
    """

    feature_map: float = 0.1
    region_wise: float = 1.0
    channel_wise: float = 1.0
    feature_stages: tuple[str, ...] = ("stride8", "stride4")
    relation_stages: tuple[str, ...] = ("stride8",)
    grid: int = 16
    centred: bool = False
    temperature: float = 0.0

    def __post_init__(self) -> None:
        for stage in (*self.feature_stages, *self.relation_stages):
            if stage not in STAGES:
                raise UsageError(f"Unknown hidden stage {stage!r}. Known: {', '.join(STAGES)}.")
        if min(self.feature_map, self.region_wise, self.channel_wise, self.temperature) < 0 or self.grid < 1:
            raise UsageError("Loss weights and temperature are 0 or more, the grid at least 1.")


@dataclass(frozen=True, slots=True)
class QatConfig:
    """How a trained student is fine-tuned under fake quantization (`train.quantization`).

    What is not here is the student's own: network, foreground, spread. `frozen_stages` keep their weights, but are
    quantized too, and nothing is equalized then; ranges are measured anew every `every` steps.
    """

    epochs: int = 1
    batch: int = 32
    learning_rate: float = 3e-5
    backbone_rate: float = 1.0
    weight_decay: float = 0.0
    warmup: float = 0.05
    clip: float = 1.0
    frozen_stages: int = 0
    ema: float = 0.97
    every: int = 50
    equalize: bool = True
    precision: str = "32-true"

    def __post_init__(self) -> None:
        if self.every < 1 or self.frozen_stages < 0:
            raise UsageError("qat.every is a number of steps from 1 on, qat.frozen_stages 0 or more.")
        self.role(RoleConfig())

    def role(self, student: RoleConfig) -> RoleConfig:
        """The student's part of the recipe with the fine-tuning's steps in place of the training's.

        Its stages are not frozen by ImageNet's weights but by the checkpoint's, which the task is told by itself.
        """
        steps = {
            name: value for name, value in asdict(self).items() if name not in ("every", "equalize", "frozen_stages")
        }
        return replace(student, frozen_stages=0, **steps)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole training run."""

    name: str = "default"
    teacher: RoleConfig = field(default_factory=RoleConfig)
    student: RoleConfig = field(default_factory=RoleConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    qat: QatConfig = field(default_factory=QatConfig)

    def role(self, name: str) -> RoleConfig:
        """The part of `teacher` or `student`."""
        return self.teacher if name == "teacher" else self.student

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and TOML."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Recipe:
        """Build a recipe; what is not named keeps its default.

        Raises:
            UsageError: an unknown name or a value of the wrong kind.
        """
        built: Recipe = _build(cls, raw, "")
        return built


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_recipe(recipe: str | Path = DEFAULT, settings: Sequence[str] = ()) -> Recipe:
    """A recipe that comes with the package or a TOML file, with single values replaced.

    Args:
        recipe: name of a packaged recipe, or a recipe file.
        settings: `key=value` with dotted keys, such as `student.epochs=4`; values are written as in TOML.

    Raises:
        UsageError: no such recipe, an unreadable file, an unknown key or a value of the wrong kind.
    """
    file = _FOLDER / f"{recipe}.toml" if recipe in recipe_names() else Path(recipe)
    if not file.is_file():
        raise UsageError(f"{recipe} is neither a recipe ({', '.join(recipe_names())}) nor a recipe file.")
    try:
        raw: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"The recipe {file} cannot be read: {error}. Compare it with a packaged one.") from error
    raw.setdefault("name", file.stem)
    return recipe_with(raw, settings)


def recipe_with(raw: Mapping[str, Any], settings: Sequence[str]) -> Recipe:
    """A recipe of plain values, with single ones replaced as in `load_recipe`.

    Raises:
        UsageError: an unknown key or a value of the wrong kind.
    """
    changed = copy.deepcopy(dict(raw))
    for setting in settings:
        _apply(changed, setting)
    return Recipe.from_dict(changed)


def _apply(raw: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    if not separator:
        raise UsageError(f"--set {setting} has no value. Write it as --set student.epochs=4.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        value = text  # a bare word is a string
    *path, last = key.strip().split(".")
    for part in path:
        raw = raw.setdefault(part, {})
        if not isinstance(raw, dict):
            raise UsageError(f"--set {setting}: {part} is a value, not a group of settings.")
    raw[last] = value


def _build(kind: Any, raw: Mapping[str, Any], where: str) -> Any:
    hints, known = get_type_hints(kind), {item.name for item in fields(kind)}
    values = {}
    for name, value in raw.items():
        if name not in known:
            raise UsageError(f"Unknown recipe setting {where}{name!r}. Known here: {', '.join(sorted(known))}.")
        values[name] = _convert(hints[name], value, f"{where}{name}")
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        if isinstance(value, Mapping):
            return _build(hint, value, f"{where}.")
    elif hint in (bool, int, str) and type(value) is hint:
        return value
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif getattr(hint, "__origin__", None) is tuple and isinstance(value, (list, tuple)):
        inner = hint.__args__[0]
        return tuple(_convert(inner, item, where) for item in value)
    raise UsageError(f"Recipe setting {where} has the wrong kind of value: {value!r}.")
