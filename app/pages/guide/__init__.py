"""The guided start on the page Explore, and the glossary of every page."""
