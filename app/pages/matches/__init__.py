"""The page Matches."""
