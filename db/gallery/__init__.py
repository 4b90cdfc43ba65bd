"""What galleries and maps show of photos: which, in which order, by which numbers."""
