"""Computations of the pages, without Streamlit."""
