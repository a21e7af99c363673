"""Trained autoencoders handed to other tools, and theirs brought into a run."""
