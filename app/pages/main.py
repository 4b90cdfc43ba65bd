"""The explorer's script: pickers in the sidebar, navigation at the top.

This file must not lie beside a folder ``pages``: until it has run, Streamlit would offer that folder's files as pages.
"""

from pathlib import Path

import streamlit as st

from orl_explorer.app.pages.attention.page import page as attention
from orl_explorer.app.pages.compare.page import page as compare
from orl_explorer.app.pages.explore.page import page as explore
from orl_explorer.app.pages.guide.start import glossary_button
from orl_explorer.app.pages.ingest.page import page as ingest
from orl_explorer.app.pages.judge.page import page as judge
from orl_explorer.app.pages.map.page import page as map_
from orl_explorer.app.pages.matches.page import page as matches
from orl_explorer.app.pages.oddities.page import page as oddities
from orl_explorer.app.pages.pair.page import page as pair
from orl_explorer.app.pages.search.page import page as search
from orl_explorer.app.pages.sets.page import page as sets
from orl_explorer.app.pages.shell import forget_url_of_another_page, run_badge
from orl_explorer.app.pages.train.page import page as train
from orl_explorer.app.pages.tune.page import page as tune
from orl_explorer.app.server.access import from_environment
from orl_explorer.app.server.base_path import under
from orl_explorer.app.server.door import LOGOUT

HERE = Path(__file__).parent

st.set_page_config(page_title="ORL Explorer", page_icon=str(HERE / "icon.svg"), layout="wide")
st.logo(str(HERE / "logo.svg"), size="large", icon_image=str(HERE / "icon.svg"))
st.html(HERE / "style.css")
pages = {
    "explore": st.Page(explore, title="Explore", icon=":material/photo_library:", default=True),
    "ingest": st.Page(
        ingest, title="Ingest report", icon=":material/assignment:", url_path="ingest", visibility="hidden"
    ),
    "oddities": st.Page(
        oddities, title="Oddities", icon=":material/content_copy:", url_path="oddities", visibility="hidden"
    ),
    "search": st.Page(search, title="Search", icon=":material/image_search:", url_path="search", visibility="hidden"),
    "matches": st.Page(matches, title="Matches", icon=":material/grid_view:", url_path="matches"),
    "judge": st.Page(judge, title="Judge pairs", icon=":material/gavel:", url_path="judge", visibility="hidden"),
    "pair": st.Page(pair, title="Pair", icon=":material/compare:", url_path="pair"),
    "tune": st.Page(tune, title="Tune", icon=":material/tune:", url_path="tune"),
    "compare": st.Page(compare, title="Compare", icon=":material/difference:", url_path="compare"),
    "attention": st.Page(attention, title="Attention", icon=":material/visibility:", url_path="attention"),
    "map": st.Page(map_, title="Map", icon=":material/scatter_plot:", url_path="map"),
    "sets": st.Page(sets, title="Sets", icon=":material/dataset:", url_path="sets"),
    "train": st.Page(train, title="Train", icon=":material/model_training:", url_path="train"),
}
st.session_state["pages"] = pages  # for links between pages
opened = st.navigation(list(pages.values()), position="top")
forget_url_of_another_page()
opened.run()
with st.sidebar:
    run_badge()
    glossary_button()
    if from_environment().closed:
        st.html(f'<a class="log-out" href="{under(LOGOUT)}">Log out</a>')
