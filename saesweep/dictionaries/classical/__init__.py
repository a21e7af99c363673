"""Dictionaries that no gradient made, one file a family."""
