"""Evaluation: scores with intervals over identities, of any model in any runtime. No torch unless it is asked for."""

from .scores import Estimate, Row, Scores, compare, score

__all__ = ["Estimate", "Row", "Scores", "compare", "score"]
