"""The data: vectors, samples, correlation, how often features fire."""
