"""The page Train, in five views."""
