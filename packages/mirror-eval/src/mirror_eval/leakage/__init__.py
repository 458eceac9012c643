"""The leakage audit: is anything on both sides of a fold, and was anything fitted outside training?"""

from mirror_eval.leakage.audit import audit_folds, audit_predictions, audit_run, audit_store
from mirror_eval.leakage.records import CHECKS, SEVERITIES, Audit, Check, Finding, Severity, Where

__all__ = [
    "CHECKS",
    "SEVERITIES",
    "Audit",
    "Check",
    "Finding",
    "Severity",
    "Where",
    "audit_folds",
    "audit_predictions",
    "audit_run",
    "audit_store",
]
