"""Confidences that mean something: pictures made worse on purpose, and a model of how often a reading is right."""
