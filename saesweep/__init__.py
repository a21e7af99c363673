"""saesweep: train grids of sparse autoencoders and see what each one learned."""

__version__ = "0.1.0"
