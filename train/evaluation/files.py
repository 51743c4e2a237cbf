"""The report's folder: tried before the work begins, each file there as a whole or not at all."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from dsrfau_edge.errors import UsageError
from dsrfau_edge.shards import store, unwritable

from . import galleries, pictures
from .evaluation import Evaluation
from .report import document, to_dict

JSON_NAME, TEXT_NAME = "report.json", "report.md"
_PICTURES = {
    "scores.png": ("Scores", pictures.overview),
    "scatter.png": ("Label and prediction", pictures.scatter),
    "calibration.png": ("Calibration of intensity", pictures.calibration),
    "confusion.png": ("Confusion by band", pictures.confusion),
    "failures.png": ("Worst crops", galleries.failures),
    "heatmaps.png": ("Heatmaps", galleries.heatmaps),
}


class ReportFolder:
    """A folder to write a report to; files of other names in it are left alone."""

    def __init__(self, folder: Path) -> None:
        """Make the folder and try to write there.

        Raises:
            RuntimeUnavailable: matplotlib is missing.
            UsageError: there is something else of that name.
            DataError: it cannot be written to.
        """
        pictures.require_matplotlib()
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file. Give a folder for the report.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise unwritable(folder, error) from error
        self.folder = folder

    def write(self, found: Evaluation) -> list[Path]:
        """Write pictures, tables and figures; returns the files, the text first.

        Raises:
            DataError: one cannot be written.
        """
        contents = {name: draw(found) for name, (_, draw) in _PICTURES.items()}
        captions = {name: caption for name, (caption, _) in _PICTURES.items()}
        text = {
            TEXT_NAME: document(found, captions).encode(),
            JSON_NAME: json.dumps(to_dict(found), indent=1).encode(),
        }
        for name, content in {**contents, **text}.items():
            store(self.folder / name, content)
        return [self.folder / name for name in (*text, *contents)]
