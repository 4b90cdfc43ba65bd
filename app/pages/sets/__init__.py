"""The page Sets."""
