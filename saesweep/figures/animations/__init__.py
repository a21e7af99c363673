"""Moving pictures of dictionaries as they are learned: what a frame shows, and how it is encoded."""
