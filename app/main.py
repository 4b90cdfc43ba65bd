"""The explorer's script: pickers in the sidebar, pages on top."""

from pathlib import Path

import streamlit as st

from orl_explorer.app.shell import run_badge
from orl_explorer.app.views import attention, compare, explore, maps, matches, pair, sets, train, tune

HERE = Path(__file__).parent

st.set_page_config(page_title="ORL Explorer", page_icon=str(HERE / "icon.svg"), layout="wide")
st.logo(str(HERE / "logo.svg"), size="large", icon_image=str(HERE / "icon.svg"))
st.html(HERE / "style.css")
pages = {
    "explore": st.Page(explore.page, title="Explore", icon=":material/photo_library:", default=True),
    "matches": st.Page(matches.page, title="Matches", icon=":material/grid_view:", url_path="matches"),
    "pair": st.Page(pair.page, title="Pair", icon=":material/compare:", url_path="pair"),
    "tune": st.Page(tune.page, title="Tune", icon=":material/tune:", url_path="tune"),
    "compare": st.Page(compare.page, title="Compare", icon=":material/difference:", url_path="compare"),
    "attention": st.Page(attention.page, title="Attention", icon=":material/visibility:", url_path="attention"),
    "map": st.Page(maps.page, title="Map", icon=":material/scatter_plot:", url_path="map"),
    "sets": st.Page(sets.page, title="Sets", icon=":material/dataset:", url_path="sets"),
    "train": st.Page(train.page, title="Train", icon=":material/model_training:", url_path="train"),
}
st.session_state["pages"] = pages  # for pages that lead to one another
st.navigation(list(pages.values()), position="top").run()
with st.sidebar:
    run_badge()
