"""Spaces: one vector an item. Encoders make them from images; ready-made ones are loaded and checked."""
