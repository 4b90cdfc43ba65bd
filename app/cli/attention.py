"""``orl attention``: attention maps of several encoders, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from typer.core import TyperCommand

from orl_explorer.app.cli.common import Where, out
from orl_explorer.app.cli.names import named_option, some_encoder
from orl_explorer.app.cli.settings import one_of
from orl_explorer.orl.attention import AttentionKind
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import open_workspace


class Listing(TyperCommand):
    """A command that accepts ``--encoders A B`` for ``--encoder A --encoder B``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Expand the list before Click parses it: options of Click have a fixed number of values."""
        spread, listing = [], False
        for word in args:
            if word == "--encoders":
                listing = True
                continue
            listing = listing and not word.startswith("-")
            spread += ["--encoder", word] if listing else [word]
        return super().parse_args(ctx, spread)


def attention_command(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Photos to draw, one row each.")],
    encoders: Annotated[
        list[str],
        named_option(
            some_encoder,
            "--encoder",
            help="Name of an encoder, one column each. May be repeated, or written as --encoders A B.",
        ),
    ],
    to: Annotated[Path, typer.Option("--out", help="File to write: .png, .svg or .pdf.")],
    method: Annotated[
        str,
        one_of(
            get_args(AttentionKind),
            "--map",
            help="activation: how strongly the last layer responds. cosine: similarity to the whole photo. "
            "class: attention of the class token, of encoders that have one.",
        ),
    ] = "activation",
    workspace: Where = None,
) -> None:
    """Draw the attention maps of photos for several encoders (Fig. 4 of the paper)."""
    from orl_explorer.train.experiments.attention_figure import attention_figure
    from orl_explorer.train.figures import refuse_format, save_figure

    refuse_format(to)
    save_figure(attention_figure(open_workspace(workspace), images, encoders, cast(AttentionKind, method)), to)
    out.print(f"{to}: {plural(len(images), 'photo')}, {plural(len(encoders), 'encoder')}.")
