"""Rows of the store as plain dictionaries, for ``--json`` and for DataFrames: JSON types alone, names beside ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Run
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.runs.evaluations import Evaluated
from orl_explorer.orl.measure.judged import Share
from orl_explorer.train.mining.judging import VerdictSummary
from orl_explorer.train.mining.quality import kept_measures
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

if TYPE_CHECKING:
    from orl_explorer.train.ingest.ingest import Ingested

Record = dict[str, Any]


def dataset_record(row: Dataset) -> Record:
    """Return a dataset: its folder and what it holds."""
    return {
        "id": row.id,
        "name": row.name,
        "layout": row.layout,
        "root": row.root,
        "photos": row.image_count,
        "unreadable": row.unreadable_count,
        "gone": row.gone_count,
        "annotations": row.annotation_count,
        "created_at": _time(row.created_at),
    }


def ingested_record(found: Ingested) -> Record:
    """Return the result of an ingest: the dataset, counts of files, and what was left out or changed."""
    return {
        "dataset": dataset_record(found.dataset),
        "new": found.new,
        "changed": found.changed,
        "unchanged": found.unchanged,
        "unreadable": [{"path": path, "reason": reason} for path, reason in found.unreadable],
        "gone": list(found.gone),
        "returned": found.returned,
        "renamed": found.renamed,
        "findings": [asdict(finding) for finding in found.findings],
    }


def encoder_record(row: Encoder) -> Record:
    """Return an encoder: its network, where its weights come from, the length of its features."""
    return {
        "id": row.id,
        "name": row.name,
        "architecture": row.architecture,
        "kind": row.kind,
        "supervised": row.supervised,
        "learned_from": row.learned_from,
        "image_features": row.image_features,
        "roi_features": row.roi_features,
        "source": row.source,
        "weights_sha256": row.weights_sha256,
        "run": row.run_id,
        "created_at": _time(row.created_at),
    }


def set_record(workspace: Workspace, row: CorrespondenceSet) -> Record:
    """Return a correspondence set: its settings, counts and measures of quality."""
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "dataset": dataset_by_id(workspace.store, row.dataset_id).name,
        "encoder": encoder_by_id(workspace.store, row.encoder_id).name,
        "photos": row.image_count,
        "rois": row.candidate_count,
        "pairs": row.pair_count,
        "run": row.run_id,
        "created_at": _time(row.created_at),
        "left_out": (row.summary or {}).get("left_out", {}),
        "duplicates": (row.summary or {}).get("duplicates", {}),
        "settings": row.params,
        "quality": kept_measures(row) or None,
    }


def skipped_duplicates(row: CorrespondenceSet) -> str:
    """Return what a set says of the near-duplicates that it skips, "" if it skips none."""
    found = (row.summary or {}).get("duplicates")
    if not found:
        return ""
    groups, photos = plural(found["groups"], "group"), plural(found["photos"], "photo")
    return f"{photos} of {groups} are nobody's neighbour, since the largest photo of each group stands for it."


def judged_record(found: VerdictSummary) -> Record:
    """Return what verdicts say of a set: the share of wrong pairs, the agreement of people, and a threshold."""
    threshold, stays = found.threshold, found.stays
    return {
        "judged_pairs": found.pairs,
        "verdicts_by_person": found.people,
        "divided_pairs": len(found.divided),
        "few": found.few,
        "wrong": _share(found.wrong),
        "agreement": [
            {
                "people": [each.first, each.second],
                "pairs": each.found.pairs,
                "agreed": each.found.agreed,
                "kappa": each.found.kappa,
                "interval": each.found.interval and list(each.found.interval),
            }
            for each in found.agreements
        ],
        "threshold": threshold
        and stays
        and {"similarity": threshold.least, "good": _share(threshold.good)}
        | {"pairs_that_stay": stays.count, "share_that_stays": stays.value},
    }


def _share(found: Share) -> Record:
    value = found.value if found.total else None
    return {"count": found.count, "of": found.total, "share": value, "interval": list(found.interval)}


def states(counts: Mapping[str, int]) -> str:
    """Return counts of photos by state as text: *1 gone, 2 unreadable*."""
    return ", ".join(f"{count:,} {state}" for state, count in counts.items())


def run_record(workspace: Workspace, row: Run) -> Record:
    """Return a run: its state, its progress and what it was asked to do."""
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "status": row.status,
        "phase": row.phase,
        "progress": row.progress,
        "total": row.total,
        "error": row.error,
        "exit_code": row.exit_code,
        "launcher": row.launcher,
        "host": row.host,
        "nodes": row.nodes,
        "processes": row.processes,
        "folder": str(workspace.run_folder(row.id)),
        "created_at": _time(row.created_at),
        "started_at": _time(row.started_at),
        "ended_at": _time(row.ended_at),
        "note": row.note,
        "tags": row.tags,
        "params": row.params,
    }


def evaluation_record(found: Evaluated) -> Record:
    """Return an evaluation: the encoder, the protocol and its numbers."""
    row = found.evaluation
    return {
        "id": row.id,
        "encoder": found.encoder.name,
        "protocol": row.protocol,
        "data": row.data,
        "run": row.run_id,
        "created_at": _time(row.created_at),
        "summary": row.summary,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
