"""The same crops through the portable graph, once, and through every model that is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import DataError
from ..runtimes.base import Crops, Floats, ModelFiles
from . import verification
from .calibration import CalibrationSet, generated_crops
from .labelled import LabelledCrops
from .source import Source
from .targets import Converted
from .verification import Gate, Parity


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found of one model: differences to fp32 always, the loss against labels where there are any."""

    parity: Parity
    gate: Gate | None

    def broken(self, max_drop: float | None) -> dict[str, float]:
        """AUs beyond the user's gate, worst first; none where there is no gate."""
        return {} if max_drop is None else verification.broken_aus(self.parity, self.gate, max_drop)


class Examiner:
    """Compares what targets make of a source with its portable graph in ONNX Runtime."""

    def __init__(
        self, source: Source, portable: Path, calibration: CalibrationSet | None, labelled: LabelledCrops | None
    ) -> None:
        """Choose the crops; nothing is run yet.

        Args:
            source: the network.
            portable: its graph as a file.
            calibration: crops to compare on; generated pictures where there are none.
            labelled: crops for the gate.
        """
        self._source, self._labelled = source, labelled
        self._portable = ModelFiles(
            portable, "onnx", portable, source.input_size, len(source.sites), int(source.heatmap["size"])
        )
        if calibration is not None:
            self.crops, self._crops_from = calibration.held_out, calibration.compared_on
        else:
            self.crops, self._crops_from = generated_crops(source.input_size), "generated pictures"

    @property
    def portable(self) -> ModelFiles:
        """The portable graph as a runtime loads it."""
        return self._portable

    def examine(self, model: ModelFiles, converted: Converted) -> Examination:
        """Run the converted model on the crops that the portable graph ran on.

        Raises:
            VerificationFailed: a value is not a number.
        """
        source = self._source
        found = verification.run(model, converted.runtime, self.crops)
        aus = verification.compare(self._reference, found, source.aus, source.sites)
        parity = Parity(converted.runtime, len(self.crops), self._crops_from, aus, converted.untested)
        if self._labelled is None:
            return Examination(parity, None)
        after = self._by_au(verification.run(model, converted.runtime, self._labelled.crops))
        drops = verification.drops(self._labelled_reference, after, self._labelled.labels, source.aus)
        if not drops:
            raise DataError(
                f"No AU varies in the labels of --gate-data ({self._labelled.origin}), so that none has an ICC. Give "
                "data in which expressions differ."
            )
        return Examination(parity, Gate(self._labelled.origin, drops))

    @cached_property
    def _reference(self) -> Floats:
        return verification.run(self._portable, "onnxruntime", self.crops)

    @cached_property
    def _labelled_reference(self) -> Floats:
        crops: Crops = self._labelled.crops if self._labelled is not None else self.crops
        return self._by_au(verification.run(self._portable, "onnxruntime", crops))

    def _by_au(self, values: Floats) -> Floats:
        return verification.au_intensities(values, self._source.aus, self._source.sites)
