"""Runtimes: what executes a model on this device. Arrays in, arrays out; see `base` for the seam."""
