"""Dictionaries as they are learned: what a frame shows, and how frames are encoded."""
