"""Correspondences of the reference implementation in and out, and tables for other tools."""
