"""How well a dictionary does: one definition of each number, used everywhere."""
