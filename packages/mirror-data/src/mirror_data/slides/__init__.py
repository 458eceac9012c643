"""Slides to bags of tile features: reader, tissue, grid, encoders, pipeline."""
