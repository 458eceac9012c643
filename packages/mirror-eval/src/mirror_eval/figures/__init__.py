"""Figures of the report: matplotlib drawn to SVG that follows the page's light or dark theme."""
