"""Export: from a checkpoint or bundle to bundles for every target, quantized, verified, with no training framework."""
