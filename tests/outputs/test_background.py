"""An output in a thread of its own: whoever writes to it never waits."""

from __future__ import annotations

import threading

import pytest
from faces import make_result
from streams import until

from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.outputs.background import Background


class Slow:
    def __init__(self, error=None):
        self.gate, self.error = threading.Event(), error
        self.frames, self.closed = [], False

    def write(self, result):
        assert self.gate.wait(20)
        if self.error:
            raise self.error
        self.frames.append(result.index)

    def close(self):
        self.closed = True


def test_the_newest_are_kept():
    slow = Slow()
    output = Background(slow, waiting=3)
    for index in range(10):
        output.write(make_result(index=index))
    slow.gate.set()
    output.close()
    assert slow.frames[-3:] == [7, 8, 9]
    assert len(slow.frames) + output.dropped == 10
    assert slow.closed


def test_one_that_hangs_is_left_behind():
    slow = Slow()
    output = Background(slow, waiting=3, linger=0.05)
    for index in range(5):
        output.write(make_result(index=index))
    output.close()
    assert output.dropped >= 4
    slow.gate.set()
    assert until(lambda: slow.closed)


@pytest.mark.parametrize("error", [OSError(5, "broken"), DsrfauError("broken")])
def test_an_error_comes_up_once(error):
    slow = Slow(error)
    slow.gate.set()
    output = Background(slow)
    output.write(make_result())
    with pytest.raises(type(error), match="broken"):
        output.close()
    assert slow.closed
