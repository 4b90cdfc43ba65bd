"""Photos come in: folders, annotations, layouts of known datasets."""
