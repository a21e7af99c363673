"""Temporary re-export; the catalogue is in saesweep/catalogue.py."""

from saesweep.catalogue import HISTORY, METRICS, Metric

__all__ = ["HISTORY", "METRICS", "Metric"]
