"""Measures of boxes, pairs and encoders: quality, localisation, precision, classifiers."""
