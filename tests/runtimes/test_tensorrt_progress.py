"""Nested phases become one share of the whole."""

from __future__ import annotations

from dsrfau_edge.runtimes.tensorrt_progress import Phases


def test_an_inner_phase_makes_up_one_step_of_the_outer() -> None:
    phases = Phases()
    phases.start("build", None, 4)
    assert phases.step("build") == 0.25
    phases.start("optimize", "build", 2)
    assert phases.step("optimize") == 0.25 + 0.25 / 2
    phases.start("time", "optimize", 5)
    assert phases.step("time") == 0.25 + 0.25 * (0.5 + 0.5 / 5)
    phases.finish("time")
    assert phases.finish("optimize") == 0.5
    assert phases.step("build") == 0.5, "the outer one counts the same step"
    assert phases.finish("build") == 1.0


def test_what_tensorrt_may_do_does_no_harm() -> None:
    phases = Phases()
    assert phases.step("never begun") == 0.0
    assert phases.finish("never begun") == 0.0
    phases.start("empty", None, 0)
    assert phases.step("empty") == 1.0
    phases.start("second", None, 10)
    assert phases.step("second") == 1.0, "it never falls"
    phases.start("orphan", "gone", 1)
    assert [phases.step("second") for _ in range(20)][-1] == 1.0
