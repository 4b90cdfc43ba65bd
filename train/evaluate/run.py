"""Evaluate an encoder by a protocol and keep the result in the store."""

from __future__ import annotations

from importlib import import_module

from orl_explorer.db.models import Encoder, Evaluation
from orl_explorer.db.runs.evaluations import keep_evaluation
from orl_explorer.train.evaluate.folders import shared_photos
from orl_explorer.train.evaluate.parts import forget_parts
from orl_explorer.train.evaluate.protocols import EvaluateConfig, data_state, protocol_named
from orl_explorer.train.files import publish
from orl_explorer.train.progress import Progress
from orl_explorer.train.run_folders import own_folder
from orl_explorer.train.workspace import Workspace

STATE = "measured_on.txt"  # in the folder of the run: ``data_state`` of what it measures


def evaluate(
    workspace: Workspace,
    encoder: Encoder,
    data: str,
    config: EvaluateConfig,
    *,
    run_id: int,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate the online backbone of an encoder. Continues where an earlier attempt of the run stopped.

    data: a folder or the name of a dataset, as the protocol requires. Raises UserError or StoreError.
    """
    progress = progress or Progress()
    protocol = protocol_named(config.protocol)
    state = own_folder(workspace, run_id) / STATE
    if not (state.is_file() and protocol.takes_folder):  # the photos of a folder are kept with the run
        said = data_state(workspace, data, config)
        if state.is_file() and state.read_text() != said:
            forget_parts(state.parent)
            progress.log(f"The dataset '{data}' has changed since this evaluation began. It starts over.")
        publish(lambda file: file.write(said.encode()), state)
    progress.log(f"Evaluation of '{encoder.name}' by {config.protocol} ({protocol.title}) on {data}.")
    found = import_module(protocol.module).evaluate(workspace, encoder, data, config, run_id=run_id, progress=progress)
    notes = found.notes + shared_photos(workspace.run_folder(run_id))
    evaluation = Evaluation(
        run_id=run_id,
        encoder_id=encoder.id,
        protocol=config.protocol,
        data=data,
        params=config.model_dump(mode="json"),
        summary=found.numbers | {"notes": notes},
    )
    kept = keep_evaluation(workspace.store, evaluation, found.values)
    for note in notes:
        progress.log(note)
    progress.log(f"{protocol.headline_title}: {found.numbers[protocol.headline]:.4f}.")
    return kept
