"""The version of saesweep."""

__version__ = "0.1.0"
