"""The page Oddities."""
