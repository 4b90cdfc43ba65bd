"""The explorer's script: pickers in the sidebar, pages on top."""

from pathlib import Path

import streamlit as st

from app.shell import run_badge
from app.views import compare, explore, pair, train

HERE = Path(__file__).parent

st.set_page_config(page_title="ORL Explorer", page_icon=str(HERE / "icon.svg"), layout="wide")
st.logo(str(HERE / "logo.svg"), size="large", icon_image=str(HERE / "icon.svg"))
st.html(HERE / "style.css")
pages = {
    "explore": st.Page(
        explore.page, title="Explore", icon=":material/photo_library:", url_path="explore", default=True
    ),
    "pair": st.Page(pair.page, title="Pair", icon=":material/compare:", url_path="pair"),
    "compare": st.Page(compare.page, title="Compare", icon=":material/difference:", url_path="compare"),
    "train": st.Page(train.page, title="Train", icon=":material/model_training:", url_path="train"),
}
st.session_state["pages"] = pages  # for pages that lead to one another
st.navigation(list(pages.values()), position="top").run()
with st.sidebar:
    run_badge()
