"""What is measured of boxes, pairs and encoders: quality, localisation, precision, classifiers."""
