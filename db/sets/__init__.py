"""Correspondence sets: reading, writing, managing and comparing them."""
