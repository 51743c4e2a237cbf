"""`--auto-keep-float`: as few layers in float as let the gate pass, the most sensitive first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .examination import Examination
from .sensitivity import Layer, keep_pattern
from .targets import Converted
from .verification import refusal

_log = logging.getLogger(__name__)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Attempt:
    """One conversion and what was found of it.

    Attributes:
        folder: where its files are.
        converted: what the target made.
        examination: the comparison, or None where it was not wanted.
        keep: nodes that were kept in float.
    """

    folder: Path
    converted: Converted
    examination: Examination | None
    keep: tuple[str, ...]

    def broken(self, max_drop: float | None) -> Mapping[str, float]:
        """AUs beyond the gate, worst first."""
        return {} if self.examination is None else self.examination.broken(max_drop)


def fewest_kept(
    layers: Sequence[Layer], kept: Sequence[str], attempt: Callable[[tuple[str, ...]], Attempt], max_drop: float
) -> Attempt | None:
    """The attempt that keeps the fewest of the most sensitive layers in float and passes the gate.

    The number is doubled until the gate passes and then halved back, each time with a real conversion: about twice as
    many as the number has binary digits.

    Args:
        layers: the most sensitive first.
        kept: nodes that are kept in float in any case.
        attempt: converts with these nodes in float.
        max_drop: the gate.

    Returns:
        None where the gate does not pass with all of them in float.
    """
    names = [layer.name for layer in layers if layer.name not in kept]

    def passing(count: int) -> Attempt | None:
        tried = attempt((*kept, *names[:count]))
        broken = tried.broken(max_drop)
        _log.info("%d layers in float: %s", count, "passes" if not broken else f"{', '.join(broken)} beyond the gate")
        return None if broken else tried

    low, high, best = 0, min(1, len(names)), None
    while high and best is None:
        best = passing(high)
        if best is None:
            if high == len(names):
                return None
            low, high = high, min(2 * high, len(names))
    while high - low > 1:
        middle = (low + high) // 2
        tried = passing(middle)
        low, high, best = (middle, high, best) if tried is None else (low, middle, tried)
    return best


def why_refused(attempt: Attempt, precision: str, max_drop: float, layers: Sequence[Layer]) -> str:
    """The message for an attempt beyond the gate: which AUs broke, which layers are to blame, and what to type."""
    gate = attempt.examination.gate if attempt.examination is not None else None
    message = refusal(precision, attempt.broken(max_drop), gate, max_drop)
    worst = [layer for layer in layers if layer.name not in attempt.keep][:_SHOWN]
    if not worst:
        return message
    told = [
        f"  {layer.name}: {100 * layer.gain:.0f} % of the error goes away with it in float, SNR {layer.snr_db:.1f} dB"
        for layer in worst
    ]
    return "\n".join(
        [
            f"{message}\nThe most sensitive of {len(layers)} layers:",
            *told,
            f"Try: --keep-float '{keep_pattern([layer.name for layer in worst])}'",
        ]
    )
