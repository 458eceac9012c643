"""Outcomes, splits and the demonstration cohort."""
