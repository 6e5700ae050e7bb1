"""Documented import paths that stay for those who know them."""
