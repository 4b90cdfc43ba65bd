"""What a person touches: the ``orl`` command line and the explorer."""
