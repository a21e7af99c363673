"""Activations of a language model, written to disk for sweeps to train on."""
