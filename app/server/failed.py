"""What a page shows when it fails: a sentence, in place of what it could not draw."""

from __future__ import annotations

import os

import streamlit as st

from orl_explorer.app.markup import escape
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError


def show_failure(error: Exception) -> bool:
    """Show why a page failed, and return whether it is shown. Streamlit's own sentence would give no reason.

    The server's log has the details of every failure. Under ``orl explore --dev`` the page shows them too.
    """
    if isinstance(error, UserError | StoreError):
        st.error(escape(f"This page cannot be shown: {error}"), icon=":material/error:")
        return True
    if os.environ.get("ORL_DEV"):
        return False
    said = f"This page failed by an error in ORL Explorer ({type(error).__name__}). The server's log has the details."
    st.error(escape(said), icon=":material/error:")
    return True
