"""The Hugging Face hub: whether it answers, asked once. Its client tries for a minute before it gives up."""

from __future__ import annotations

import threading
from pathlib import Path

from orl_explorer.train.errors import UserError

ANSWER = 8.0  # seconds for name, connection and first answer, also over a slow network


def refuse_unreachable(repository: str) -> None:
    """Raise UserError if a repository must be downloaded and the hub does not answer, with what to do.

    Nothing is asked if files of the repository are in the hub's cache. The hub is that of ``HF_ENDPOINT``, asked by its
    own client, so proxies and the offline mode count.
    """
    from huggingface_hub import constants, get_session

    repository = repository.partition("@")[0]
    kept = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    if next(kept.glob("*/*"), None) is not None:
        return
    said = [f"no answer within {ANSWER:g} seconds"]

    def ask() -> None:
        if constants.HF_HUB_OFFLINE:
            said[0] = "HF_HUB_OFFLINE is set"
            return
        try:
            get_session().head(constants.ENDPOINT, timeout=ANSWER)
            said[0] = ""
        except Exception as error:  # the client's own errors, of whichever library it uses
            said[0] = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")

    asking = threading.Thread(target=ask, daemon=True)  # nothing bounds the search for a host's address
    asking.start()
    asking.join(ANSWER)
    if reason := said[0]:
        raise UserError(
            f"Cannot reach {constants.ENDPOINT}: {reason}. On a machine with a network, run "
            f"`hf download {repository} --local-dir FOLDER`; copy the folder here and add it as timm-local:FOLDER."
        )
