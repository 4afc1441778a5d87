"""Kinds of columns that a masked encoder learns, one file each: values, a head and its figures."""
