"""Features over training, a panel a cell."""
