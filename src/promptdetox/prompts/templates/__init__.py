"""Template files. Never edited once released: add ``.v2`` beside ``.v1``."""
