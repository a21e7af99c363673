"""Which features are found, and whether one could know."""
