"""The options of `dsrfau-bench` as they were typed, and which of them make no sense together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from dsrfau_edge.errors import UsageError

STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Asked:
    """The options as they were typed."""

    bundles: tuple[Path, ...]
    names: tuple[str, ...]
    device: str | None
    precisions: tuple[str, ...]
    threads: tuple[int, ...]
    batch: int
    crops: bool
    whole: bool
    images: tuple[str, ...]
    videos: tuple[str, ...]
    stream: bool
    frames: int | None
    iterations: int | None
    seconds: float | None
    baselines: tuple[str, ...]
    bare: bool
    vendor_tool: bool
    timeout: float
    as_json: bool
    markdown: Path | None
    output: Path | None
    base: Path | None
    max_regression: str | None
    figures: tuple[str, ...]
    remember: bool
    max_difference: float

    @property
    def end_to_end(self) -> bool:
        """Whether whole frames are measured."""
        return self.whole or bool(self.images or self.videos)

    @property
    def model_only(self) -> bool:
        """Whether the model alone is measured."""
        return self.crops or not self.end_to_end

    @property
    def shows_table(self) -> bool:
        """Whether stdout takes the table, and not JSON or Markdown."""
        return not self.as_json and self.output != STDOUT and self.markdown != STDOUT

    def check(self) -> None:
        """Refuse what makes no sense before anything is measured.

        Raises:
            UsageError: an option that would do nothing, or two that contradict each other.
        """
        outputs = [path for path in (self.output, self.markdown) if path is not None]
        checks = (
            (self.frames is None or self.end_to_end, "--frames needs --end-to-end, --image or --video"),
            (not self.stream or self.end_to_end, "--stream needs --end-to-end, --image or --video"),
            (self.batch == 1 or self.model_only or self.bare, "--batch needs --crops: whole frames come one by one"),
            (self.base is not None or self.max_regression is None, "--max-regression needs --compare BASE.json"),
            (self.base is not None or not self.figures, "--figure needs --compare BASE.json"),
            (not (self.remember and self.device), "--remember cannot be used with --device, whose choice is yours"),
            (not self.remember or self.batch == 1, "--remember needs --batch 1, which is what Predictor's frames give"),
            (not self.remember or self.model_only, "--remember needs --crops"),
            (0 <= self.max_difference < math.inf, "--max-difference needs a number of 0 or more"),
            (1 <= self.timeout < math.inf, "--timeout needs 1 second or more"),
            (len({path.absolute() for path in outputs}) == len(outputs), "-o and --markdown name the same file"),
            (not (self.as_json and STDOUT in outputs), "--json and - both write to stdout"),
            (
                self.base is None or self.base not in outputs,
                "-o and --markdown must not replace BASE.json",
            ),
        )
        for fine, problem in checks:
            if not fine:
                raise UsageError(f"{problem}.")
        for path in outputs:
            if path != STDOUT and (path.is_dir() or not path.parent.is_dir()):
                raise UsageError(
                    f"{path} cannot be written: it is a folder, or its folder is not there. Make it first."
                )
