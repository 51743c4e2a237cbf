"""Several outputs: one that fails ends alone."""

from __future__ import annotations

import pytest
from faces import make_face, make_result

from dsrfau_edge.errors import DsrfauError, UsageError
from dsrfau_edge.outputs.base import Output, Outputs


class Fake:
    def __init__(self, error=None, at_close=None):
        self.error, self.at_close = error, at_close
        self.results, self.closed = [], 0

    def write(self, result):
        if self.error:
            raise self.error
        self.results.append(result)

    def close(self):
        self.closed += 1
        if self.at_close:
            raise self.at_close


class FakeBySource(Fake):
    source = None

    def begin(self, source):
        self.source = source


def outputs(**named):
    told = []
    several = Outputs(lambda name, error: told.append((name, error)))
    for name, output in named.items():
        assert isinstance(output, Output)
        several.add(name, output)
    return several, told


RESULT = make_result(make_face())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), DsrfauError("it broke")])
def test_one_that_fails_is_closed_and_told_once(error):
    bad, good = Fake(error), Fake()
    several, told = outputs(bad=bad, good=good)
    several.write(RESULT)
    several.write(RESULT)
    several.close()
    assert (bad.closed, good.closed) == (1, 1)
    assert told == [("bad", error)]
    assert len(good.results) == 2


def test_the_last_ones_error_is_raised():
    several, told = outputs(first=Fake(OSError(28, "full")), second=Fake(OSError(5, "broken")))
    with pytest.raises(OSError, match="broken"):
        several.write(RESULT)
    assert [name for name, _ in told] == ["first"]


@pytest.mark.parametrize("error", [BrokenPipeError(), UsageError("no")])
def test_some_errors_end_all(error):
    several, told = outputs(bad=Fake(error), good=Fake())
    with pytest.raises(type(error)):
        several.write(RESULT)
    assert told == []


def test_all_are_closed_though_one_fails():
    bad, good = Fake(at_close=OSError(28, "full")), Fake()
    several, told = outputs(bad=bad, good=good)
    several.close()
    several.close()
    assert (bad.closed, good.closed) == (1, 1)
    assert [name for name, _ in told] == ["bad"]


def test_only_those_that_care_are_told_of_sources():
    one, other = FakeBySource(), Fake()
    several, _ = outputs(one=one, other=other)
    several.begin("a source")
    assert one.source == "a source"


def test_a_defect_is_no_failed_output():
    several, _ = outputs(bad=Fake(ZeroDivisionError()), good=Fake())
    with pytest.raises(ZeroDivisionError):
        several.write(RESULT)
