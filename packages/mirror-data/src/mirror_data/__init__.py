"""Slides, expression tables and clinical tables to one cohort store."""
