"""Measuring models on this device: how long, how steadily, with how much memory and power, and how close to fp32."""
