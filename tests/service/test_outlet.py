"""One output behind its queue: slow, blocked, broken, and all right again."""

from __future__ import annotations

import threading

import pytest
from faces import make_result
from streams import until

from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable, UsageError
from dsrfau_edge.live.options import LiveOptions
from dsrfau_edge.service.outlet import BLOCKED_AFTER, STEADY_AFTER, Outlet

QUICK = LiveOptions(backoff=0.001, longest_backoff=0.002)


class Keeper:
    """An output by script: `fails` are the errors of the next writes, None for one that works."""

    def __init__(self, *fails):
        self.fails, self.taken, self.closed = list(fails), [], 0
        self.gate = threading.Event()
        self.gate.set()

    def write(self, result):
        self.gate.wait()
        error = self.fails.pop(0) if self.fails else None
        if error:
            raise error
        self.taken.append(result.index)

    def close(self):
        self.closed += 1


def offered(outlet, numbers):
    for number in numbers:
        outlet.offer(make_result(index=number))


def ended(outlet):
    outlet.stop(5.0)
    assert outlet.join(20.0)
    return outlet.stats


def test_results_arrive_in_order_and_the_rest_is_written_at_the_end():
    keeper = Keeper()
    outlet = Outlet("a", lambda: keeper)
    outlet.start()
    offered(outlet, range(50))
    stats = ended(outlet)
    assert keeper.taken == list(range(50))
    assert keeper.closed == 1
    assert (stats.state, stats.written, stats.dropped, stats.errors) == ("closed", 50, 0, 0)


def test_a_slow_output_gets_the_newest_and_its_losses_are_counted():
    keeper = Keeper()
    keeper.gate.clear()
    outlet = Outlet("a", lambda: keeper, capacity=4)
    outlet.start()
    offered(outlet, [0])
    assert until(lambda: outlet.stats.queued == 0)  # it is being written
    offered(outlet, range(1, 11))
    assert (outlet.stats.queued, outlet.stats.dropped) == (4, 6)
    keeper.gate.set()
    assert ended(outlet).written == 5
    assert keeper.taken == [0, 7, 8, 9, 10]


def test_a_write_that_does_not_return_is_told_and_never_waited_for():
    now, keeper = [0.0], Keeper()
    keeper.gate.clear()
    outlet = Outlet("a", lambda: keeper, clock=lambda: now[0])
    outlet.start()
    offered(outlet, [0, 1])
    assert until(lambda: outlet.stats.queued == 1)
    assert outlet.stats.state == "ok"
    now[0] = BLOCKED_AFTER + 0.1
    assert outlet.stats.state == "blocked"
    outlet.stop(0.0)
    assert not outlet.join(0.01)
    now[0] += 1
    keeper.gate.set()
    assert outlet.join(20.0)
    assert keeper.taken == [0]  # the time for the other one was over
    assert outlet.stats.dropped == 1


def test_an_output_that_can_be_interrupted_is():
    class Waiting(Keeper):
        def interrupt(self):
            self.gate.set()

    keeper = Waiting(OSError("does not read"))
    keeper.gate.clear()
    outlet = Outlet("a", lambda: keeper)
    outlet.start()
    offered(outlet, [0])
    assert until(lambda: outlet.stats.queued == 0)
    outlet.stop(0.0)
    assert outlet.join(0.01)
    assert (outlet.stats.dropped, keeper.closed) == (1, 1)


def test_a_failure_closes_the_output_and_it_is_opened_anew():
    first, second = Keeper(None, OSError(28, "No space left on device")), Keeper()
    made = iter([first, OSError("not there"), second])

    def opened():
        found = next(made)
        if isinstance(found, Exception):
            raise found
        return found

    outlet = Outlet("a", opened, retry=QUICK)
    outlet.start()
    offered(outlet, [0, 1])
    assert until(lambda: first.closed)
    offered(outlet, [2, 3])
    assert until(lambda: second.taken)
    stats = ended(outlet)
    assert (first.taken, second.taken[-1]) == ([0], 3)
    assert (stats.errors, stats.written + stats.dropped) == (2, 4)
    assert "not there" in stats.last_error


@pytest.mark.parametrize("error", [RuntimeUnavailable("no package"), UsageError("no such address")])
def test_what_time_does_not_heal_is_not_tried_again(error):
    calls = []

    def opened():
        calls.append(1)
        raise error

    outlet = Outlet("a", opened, retry=QUICK)
    outlet.start()
    assert outlet.join(20.0)
    offered(outlet, [0, 1])
    assert (outlet.stats.state, outlet.stats.dropped, len(calls)) == ("failed", 2, 1)
    assert str(error) in outlet.stats.last_error


def test_an_output_that_is_not_to_be_opened_again_fails_for_good():
    keeper = Keeper(BrokenPipeError("gone"))
    outlet = Outlet("a", lambda: keeper, reopens=False)
    outlet.start()
    offered(outlet, [0])
    assert outlet.join(20.0)
    assert (outlet.stats.state, keeper.closed) == ("failed", 1)


def test_an_error_of_any_kind_stays_with_its_output():
    keeper = Keeper(ZeroDivisionError(), None)
    outlet = Outlet("a", lambda: keeper, retry=QUICK)
    outlet.start()
    offered(outlet, [0])
    assert until(lambda: outlet.stats.errors == 1)
    offered(outlet, [1])
    assert until(lambda: keeper.taken == [1])
    assert ended(outlet).last_error == "ZeroDivisionError"


def test_an_output_that_works_for_a_moment_at_a_time_is_told_once(caplog):
    now, keeper = [0.0], Keeper(*[None, OSError("refused")] * 5)
    outlet = Outlet("a", lambda: keeper, retry=QUICK, clock=lambda: now[0])
    outlet.start()

    def one(number):
        now[0] += 1
        before = outlet.stats
        offered(outlet, [number])
        with outlet._condition:
            outlet._condition.notify_all()
        return until(lambda: outlet.stats.written + outlet.stats.errors > before.written + before.errors)

    assert all(one(number) for number in range(10))
    assert outlet.stats.errors == 5
    assert len(caplog.records) == 1
    assert one(10)
    now[0] += STEADY_AFTER
    assert one(11)
    assert [record.getMessage() for record in caplog.records][1:] == ["Output a works again."]
    ended(outlet)


def test_a_close_that_fails_is_told():
    keeper = Keeper()

    def close():
        raise DsrfauError("the end could not be written")

    keeper.close = close
    outlet = Outlet("a", lambda: keeper)
    outlet.start()
    stats = ended(outlet)
    assert (stats.state, stats.errors, stats.last_error) == ("closed", 1, "the end could not be written")


def test_it_ends_while_it_waits_for_the_next_attempt():
    def opened():
        raise OSError("nobody there")

    outlet = Outlet("a", opened, retry=LiveOptions(backoff=1000.0, longest_backoff=1000.0))
    outlet.start()
    assert until(lambda: outlet.stats.state == "retrying")
    offered(outlet, [0, 1, 2])
    stats = ended(outlet)
    assert (stats.state, stats.dropped) == ("closed", 3)
