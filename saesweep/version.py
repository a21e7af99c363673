"""The version of saesweep, and of the files it leaves."""

__version__ = "0.1.0"

FORMAT = 1
"""Of a run folder. It is raised when a run that was begun cannot be continued by newer code."""
