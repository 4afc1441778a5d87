"""Scorers: one file each; each says its direction, its range and its signature."""
