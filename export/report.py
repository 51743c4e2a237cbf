"""What an export says of itself: for the terminal, for JSON, and for whoever calls it from Python."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .sensitivity import Layer
from .verification import Gate, Parity

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The outcome for one target.

    Attributes:
        target: name of the target.
        precision: that was asked for.
        path: the bundle, or None where none was written.
        reason: why none was written, or "".
        model_bytes: size of the model in the target's format.
        files: bytes by file name.
        parity: the comparison, or None where it was not wanted.
        gate: what it cost on labelled crops, or None where there were none.
        kept: layers that were kept in float.
        layers: the sensitivity of every layer, where it was asked for.
        latency_ms: median time of one call on this machine, and of the portable graph in the same runtime; None where
            the target's own runtime does not run here.
        portable_latency_ms: see `latency_ms`.
        all_int8_latency_ms: of the model before layers were kept in float for the gate.
        calibration: crops that int8 was calibrated on.
        notes: sentences for the user.
        seconds: that it took.
    """

    target: str
    precision: str
    path: Path | None
    reason: str = ""
    model_bytes: int = 0
    files: dict[str, int] = field(default_factory=dict)
    parity: Parity | None = None
    gate: Gate | None = None
    kept: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    latency_ms: float | None = None
    portable_latency_ms: float | None = None
    all_int8_latency_ms: float | None = None
    calibration: int = 0
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def written(self) -> bool:
        """Whether there is a bundle."""
        return self.path is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "target": self.target,
            "precision": self.precision,
            "path": None if self.path is None else str(self.path),
            "reason": self.reason,
            "model_bytes": self.model_bytes,
            "files": self.files,
            "parity": None if self.parity is None else self.parity.to_dict(),
            "gate": None if self.gate is None else self.gate.to_dict(),
            "kept_in_float": list(self.kept),
            "layers": [asdict(layer) for layer in self.layers],
            "latency_ms": self.latency_ms,
            "portable_latency_ms": self.portable_latency_ms,
            "all_int8_latency_ms": self.all_int8_latency_ms,
            "calibration": self.calibration,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
        }

    def lines(self) -> list[str]:
        """What the terminal shows."""
        head = f"{self.target} {self.precision}"
        if self.path is None:
            return [f"{head}: not written. {self.reason}"]
        lines = [f"{head}: {self.path}", f"  model {self.model_bytes / 1e6:.1f} MB, made in {self.seconds:.0f} s"]
        if self.calibration:
            lines.append(f"  calibrated on {self.calibration} crops")
        lines.append(f"  {self._verified()}")
        if self.gate is not None:
            lines.append(f"  {self._labelled(self.gate)}")
        if self.kept:
            lines.append(f"  {self._floats()}")
        if self.latency_ms is not None and self.portable_latency_ms is not None:
            lines.append(f"  {self._speed()}")
        if self.parity is not None and self.parity.note:
            lines.append(f"  {self.parity.note}")
        lines += [f"  {note}" for note in self.notes]
        if self.layers:
            lines.append("  layers, the most sensitive first: share of the error that goes away with it in float, SNR")
            lines += [f"  {100 * layer.gain:6.1f} % {layer.snr_db:6.1f} dB  {layer.name}" for layer in self.layers]
        return lines

    def _verified(self) -> str:
        parity = self.parity
        if parity is None:
            return "not verified (--no-verify)"
        name, worst = parity.worst
        pcc = "" if worst.pcc is None else f", PCC {worst.pcc:.3f}"
        return (
            f"verified in {parity.runtime} on {parity.crops} {parity.crops_from}: intensities differ from fp32 by "
            f"{parity.mean:.4f} on average, {parity.largest:.4f} at most; worst {name} {worst.mean:.4f}{pcc}"
        )

    def _labelled(self, gate: Gate) -> str:
        (name, worst), mean = gate.worst, round(gate.mean, 4) + 0.0  # which is never a negative zero
        return (
            f"against labels ({gate.origin}): ICC(3,1) falls by {mean:.4f} on average; worst {name} "
            f"{worst.before:.3f} to {worst.after:.3f}"
        )

    def _floats(self) -> str:
        shown = ", ".join(self.kept[:_SHOWN]) + (", …" if len(self.kept) > _SHOWN else "")
        cost = ""
        if self.all_int8_latency_ms is not None and self.latency_ms is not None:
            cost = f": {self.latency_ms:.2f} ms a call, all of it int8 {self.all_int8_latency_ms:.2f} ms"
        return f"{len(self.kept)} nodes in float ({shown}){cost}"

    def _speed(self) -> str:
        mine, portable = self.latency_ms or 0.0, self.portable_latency_ms or 0.0
        verdict = "" if mine <= portable else ": fp32 is the faster one on this machine"
        return f"{mine:.2f} ms a call here, the fp32 graph {portable:.2f} ms{verdict}"
