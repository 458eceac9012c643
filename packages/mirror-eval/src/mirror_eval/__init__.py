"""Evaluation: subtyping, survival, comparison, leakage audit, report."""
