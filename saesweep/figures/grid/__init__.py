"""Metrics over the grid: heatmaps, curves, the trade-off."""
