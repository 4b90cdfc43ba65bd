"""What pages compute, free of Streamlit."""
