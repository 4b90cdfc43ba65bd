"""Ingesting photos: folders, annotations, layouts of known datasets."""
