"""The explorer's script: pickers in the sidebar, pages on top."""

from pathlib import Path

import streamlit as st

from app.shell import pages, run_badge

HERE = Path(__file__).parent

st.set_page_config(page_title="ORL Explorer", page_icon=str(HERE / "icon.svg"), layout="wide")
st.logo(str(HERE / "logo.svg"), size="large", icon_image=str(HERE / "icon.svg"))
st.html(HERE / "style.css")
page = st.navigation(list(pages().values()), position="top")
page.run()
with st.sidebar:
    run_badge()
