"""Quantization-aware fine-tuning: the student learns under the rounding that the exporter's int8 graph will do."""
