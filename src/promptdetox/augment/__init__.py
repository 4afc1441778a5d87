"""Augmentations: texts -> the same texts said, spelt or punctuated otherwise, for training."""
