"""Taggers: texts -> toxic spans."""
