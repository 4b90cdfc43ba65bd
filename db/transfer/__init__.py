"""Whole stores: copying them between databases."""
