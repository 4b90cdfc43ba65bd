"""Tables of the store. Names of tables and columns are a public interface: notebooks query them.

Boxes are ``x, y, w, h`` in pixels of the image as shown. Tables that a COCO-sized set fills with millions of
rows are narrow, ``WITHOUT ROWID``, and keyed by the columns that a page queries.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    false,
    text,
)
from sqlalchemy.orm import Mapped, aliased, mapped_column

from orl_explorer.db.base import Base


def now() -> datetime:
    """Return the current time, UTC, without a time zone, since SQLite has none."""
    return datetime.now(UTC).replace(tzinfo=None)


class Dataset(Base):
    """A folder of photos."""

    __tablename__ = "dataset"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    root: Mapped[str]
    layout: Mapped[str]  # folder, coco, voc, or union: of datasets, named in root
    created_at: Mapped[datetime] = mapped_column(default=now)
    image_count: Mapped[int] = mapped_column(default=0)  # readable; counted once per ingest
    unreadable_count: Mapped[int] = mapped_column(default=0)
    gone_count: Mapped[int] = mapped_column(default=0, server_default="0")
    annotation_count: Mapped[int] = mapped_column(default=0)
    categories: Mapped[dict[str, Any] | None]  # number of photos by annotated category, counted likewise
    revision: Mapped[int] = mapped_column(default=0, server_default="0")  # grows when photos or annotations change
    marks: Mapped[int] = mapped_column(default=0, server_default="0")  # grows when tags or verdicts change
    last_ingest: Mapped[dict[str, Any] | None]  # when, and the number of photos that were new, changed, unchanged


class DatasetMember(Base):
    """A dataset that a union contains. The union has no photos of its own."""

    __tablename__ = "dataset_member"
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"), primary_key=True, index=True)
    __table_args__ = ({"sqlite_with_rowid": False},)


class Image(Base):
    """A photo. If the file changes on disk, a new row replaces it and ``superseded_by`` names that row."""

    __tablename__ = "image"
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    path: Mapped[str]  # relative to the dataset's root, separated by /
    width: Mapped[int] = mapped_column(default=0)  # as shown
    height: Mapped[int] = mapped_column(default=0)
    orientation: Mapped[int] = mapped_column(SmallInteger, default=1)  # EXIF, 1..8
    status: Mapped[str] = mapped_column(String(16), default="ok")  # ok, unreadable, gone: no longer on disk
    error: Mapped[str | None]
    size: Mapped[int] = mapped_column(BigInteger, default=0)  # bytes, with mtime_ns: has the file changed?
    mtime_ns: Mapped[int] = mapped_column(BigInteger, default=0)
    digest: Mapped[int | None] = mapped_column(BigInteger)  # of the file's content; of older rows read when needed
    superseded_by: Mapped[int | None] = mapped_column(ForeignKey("image.id"))
    __table_args__ = (
        Index(
            "ix_image_current",
            "dataset_id",
            "path",
            unique=True,
            sqlite_where=text("superseded_by IS NULL"),
            postgresql_where=text("superseded_by IS NULL"),
        ),
        Index("ix_image_dataset_id_id", "dataset_id", "id"),
    )


class StoredFinding(Base):
    """Something that an ingest left out or changed, with its reason. An ingest replaces those of its dataset."""

    __tablename__ = "finding"
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(32))
    image_id: Mapped[int | None] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]  # of the file, or of what the annotation file calls a photo
    count: Mapped[int] = mapped_column(default=1)  # of the files, boxes or annotations that it stands for
    detail: Mapped[str] = mapped_column(default="")
    __table_args__ = (Index("ix_finding_dataset_id_kind", "dataset_id", "kind", "id"),)


class Annotation(Base):
    """A labelled box of the dataset, used to measure and to show, and to mine only if the settings say so."""

    __tablename__ = "annotation"
    __table_args__ = (Index("ix_annotation_category", "category", "image_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"), index=True)
    category: Mapped[str]
    x: Mapped[float]
    y: Mapped[float]
    w: Mapped[float]
    h: Mapped[float]
    difficult: Mapped[bool] = mapped_column(default=False)


class Encoder(Base):
    """A network that turns pixels into features, with its weights."""

    __tablename__ = "encoder"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    architecture: Mapped[str]
    kind: Mapped[str] = mapped_column(String(16))  # starter, imported, stage1, stage3, adapted, vectors
    supervised: Mapped[bool]  # trained with labels; every view of the encoder shows this
    weights_sha256: Mapped[str] = mapped_column(String(64))
    weights_path: Mapped[str]  # relative to the workspace; empty if the encoder is imported vectors
    image_features: Mapped[int]  # length of an image's feature
    roi_features: Mapped[int]  # length of a RoI's
    source: Mapped[str] = mapped_column(default="")
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    reading: Mapped[dict[str, Any] | None]  # orl.reading, if it is not the default; features depend on it

    @property
    def learned_from(self) -> str:
        """What its weights learned from: labels, text, nothing (photos alone, or not at all), unknown."""
        return (self.reading or {}).get("learned_from") or ("labels" if self.supervised else "nothing")


class Proposal(Base):
    """Raw boxes of an image by one method: int16 [M, 4] little-endian, x y w h, in rank order."""

    __tablename__ = "proposal"
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"), primary_key=True)
    method: Mapped[str] = mapped_column(primary_key=True)
    boxes: Mapped[bytes] = mapped_column(LargeBinary)


class Roi(Base):
    """Every box that some correspondence set uses."""

    __tablename__ = "roi"
    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"))
    x: Mapped[int] = mapped_column(SmallInteger)
    y: Mapped[int] = mapped_column(SmallInteger)
    w: Mapped[int] = mapped_column(SmallInteger)
    h: Mapped[int] = mapped_column(SmallInteger)
    __table_args__ = (Index("ix_roi_box", "image_id", "x", "y", "w", "h", unique=True),)


class CorrespondenceSet(Base):
    """The results of one mining run, immutable once its status is ``complete``."""

    __tablename__ = "correspondence_set"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"))
    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoder.id"))
    params: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(16), default="mining")  # mining, complete; deleted until its rows are
    created_at: Mapped[datetime] = mapped_column(default=now)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    image_count: Mapped[int] = mapped_column(default=0)
    candidate_count: Mapped[int] = mapped_column(default=0)
    pair_count: Mapped[int] = mapped_column(default=0)
    fallback_count: Mapped[int] = mapped_column(default=0)  # images that kept no box
    summary: Mapped[dict[str, Any] | None]  # similarity histogram, rejections by rule
    quality: Mapped[dict[str, Any] | None]  # orl.quality, once measured; annotations may come later than the set


class DeletedSet(Base):
    """The record of a deleted set, for the runs and encoders that used it. Its id is never reused."""

    __tablename__ = "deleted_set"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    dataset_id: Mapped[int]
    encoder_id: Mapped[int]
    params: Mapped[dict[str, Any]]
    pair_count: Mapped[int]
    quality: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime] = mapped_column(default=now)
    author: Mapped[str]


class Neighbor(Base):
    """The K nearest images of an image."""

    __tablename__ = "neighbor"
    set_id: Mapped[int] = mapped_column(ForeignKey("correspondence_set.id", ondelete="CASCADE"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    rank: Mapped[int] = mapped_column(SmallInteger, primary_key=True)  # 1..K
    neighbor_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    similarity: Mapped[float]
    __table_args__ = ({"sqlite_with_rowid": False},)


class Candidate(Base):
    """The filtered RoIs of an image under the set's thresholds."""

    __tablename__ = "candidate"
    set_id: Mapped[int] = mapped_column(ForeignKey("correspondence_set.id", ondelete="CASCADE"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    rank: Mapped[int] = mapped_column(SmallInteger, primary_key=True)  # 1..B
    roi_id: Mapped[int] = mapped_column(ForeignKey("roi.id"))
    objectness: Mapped[float | None]  # if the set uses it
    __table_args__ = ({"sqlite_with_rowid": False},)


class Pair(Base):
    """Corresponding RoIs of a query image and one of its neighbours, best first."""

    __tablename__ = "pair"
    set_id: Mapped[int] = mapped_column(ForeignKey("correspondence_set.id", ondelete="CASCADE"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    neighbor_rank: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    rank: Mapped[int] = mapped_column(SmallInteger, primary_key=True)  # 1..n
    query_roi_id: Mapped[int] = mapped_column(ForeignKey("roi.id"))
    key_roi_id: Mapped[int] = mapped_column(ForeignKey("roi.id"))
    similarity: Mapped[float]
    margin: Mapped[float | None]  # over the query RoI's next best in this neighbour; null if there is none
    cycle: Mapped[bool | None]  # is the key's nearest RoI in the query photo the query RoI?
    __table_args__ = ({"sqlite_with_rowid": False},)


def both_rois() -> tuple[type[Roi], type[Roi]]:
    """Return the tables of a pair's query RoIs and of its key RoIs, for a question that joins both.

    They are new at each call: SQLAlchemy fills in an alias at its first use, and threads that do so at once spoil it,
    and with it the compiled question that it keeps for all who ask later.
    """
    return aliased(Roi), aliased(Roi)


class SetImage(Base):
    """Counts and means of one image in a set, computed when it is mined, which the gallery shows and sorts by.

    The row is written with the image's candidates; the columns about pairs are filled with the pairs.
    """

    __tablename__ = "set_image"
    set_id: Mapped[int] = mapped_column(ForeignKey("correspondence_set.id", ondelete="CASCADE"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    raw_count: Mapped[int]
    candidate_count: Mapped[int]
    fallback: Mapped[bool]
    pair_count: Mapped[int | None]
    mean_similarity: Mapped[float | None]
    cycle_share: Mapped[float | None]  # share of its pairs with a cycle
    mean_margin: Mapped[float | None]  # over its pairs that have one
    __table_args__ = (
        Index("ix_set_image_pairs", "set_id", "pair_count", "image_id"),
        Index("ix_set_image_candidates", "set_id", "candidate_count", "image_id"),
        Index("ix_set_image_similarity", "set_id", "mean_similarity", "image_id"),
        {"sqlite_with_rowid": False},
    )


class SetComparison(Base):
    """The overlap of two complete sets, computed once for each least IoU; ``first_id`` is the smaller id."""

    __tablename__ = "set_comparison"
    first_id: Mapped[int] = mapped_column(ForeignKey("correspondence_set.id", ondelete="CASCADE"), primary_key=True)
    second_id: Mapped[int] = mapped_column(ForeignKey("correspondence_set.id", ondelete="CASCADE"), primary_key=True)
    percent: Mapped[int] = mapped_column(primary_key=True)  # the IoU from which two boxes count as the same
    summary: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class ImageComparison(Base):
    """One image of a comparison: the agreement of the two sets on its neighbours, RoIs and pairs."""

    __tablename__ = "image_comparison"
    first_id: Mapped[int] = mapped_column(primary_key=True)
    second_id: Mapped[int] = mapped_column(primary_key=True)
    percent: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    neighbors: Mapped[float]
    rois: Mapped[float]
    pairs: Mapped[float]
    __table_args__ = (
        ForeignKeyConstraint(
            ["first_id", "second_id", "percent"],
            ["set_comparison.first_id", "set_comparison.second_id", "set_comparison.percent"],
            ondelete="CASCADE",
        ),
        Index("ix_image_comparison_pairs", "first_id", "second_id", "percent", "pairs", "image_id"),
        {"sqlite_with_rowid": False},
    )


class Run(Base):
    """One execution of a stage or evaluation: queued, running, stopping, then done, failed, cancelled or crashed."""

    __tablename__ = "run"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))  # pretrain, mine, train, adapt, evaluate, map
    name: Mapped[str]  # of the result
    status: Mapped[str] = mapped_column(String(16), default="queued", index=True)
    params: Mapped[dict[str, Any]]
    dataset_id: Mapped[int | None] = mapped_column(ForeignKey("dataset.id"))
    encoder_id: Mapped[int | None] = mapped_column(ForeignKey("encoder.id", use_alter=True))  # mined with, or evaluated
    correspondence_set_id: Mapped[int | None] = mapped_column(ForeignKey("correspondence_set.id", use_alter=True))
    launcher: Mapped[str] = mapped_column(default="local", server_default="local")  # what starts its processes
    handle: Mapped[str | None]  # by which the launcher knows it
    nodes: Mapped[int] = mapped_column(default=1, server_default="1")  # machines that share the work
    processes: Mapped[int] = mapped_column(default=1, server_default="1")  # of all machines together
    device: Mapped[str] = mapped_column(String(16), default="cpu")  # with the host, the queue of a local run
    host: Mapped[str] = mapped_column(default="")  # of a local run from the beginning, else once it works
    pid: Mapped[int | None]
    pid_started_at: Mapped[float | None]  # a reused pid has another start time
    heartbeat_at: Mapped[datetime | None]
    kill_asked: Mapped[bool] = mapped_column(default=False, server_default=false())  # its process ends itself
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    exit_code: Mapped[int | None]
    error: Mapped[str | None]  # one sentence
    note: Mapped[str] = mapped_column(default="", server_default="")  # what people say of it
    tags: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")  # in byte order
    log_path: Mapped[str] = mapped_column(default="")  # relative to the workspace
    phase: Mapped[str] = mapped_column(default="")
    progress: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)


class Metric(Base):
    """A number that a run reported at a step."""

    __tablename__ = "metric"
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float]
    __table_args__ = ({"sqlite_with_rowid": False},)


class ProbePair(Base):
    """A pair that the encoder in training finds between two fixed photos, at one checkpoint."""

    __tablename__ = "probe_pair"
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    neighbor_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    rank: Mapped[int] = mapped_column(SmallInteger, primary_key=True)  # 1..n
    query_roi_id: Mapped[int] = mapped_column(ForeignKey("roi.id", ondelete="CASCADE"))
    key_roi_id: Mapped[int] = mapped_column(ForeignKey("roi.id", ondelete="CASCADE"))
    similarity: Mapped[float]
    __table_args__ = ({"sqlite_with_rowid": False},)


class Evaluation(Base):
    """The result of a protocol for an encoder: single numbers in ``summary``, series in the values."""

    __tablename__ = "evaluation"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), unique=True)
    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoder.id"), index=True)
    protocol: Mapped[str] = mapped_column(String(32))
    data: Mapped[str]  # folder, or name of a dataset of this workspace
    params: Mapped[dict[str, Any]]
    summary: Mapped[dict[str, Any]]  # numbers by name, and notes on how they were computed
    created_at: Mapped[datetime] = mapped_column(default=now)


class EvaluationValue(Base):
    """A number of an evaluation for a key: a class, a k, a depth or a cell of a grid."""

    __tablename__ = "evaluation_value"
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)  # of the key among the others of this name
    key: Mapped[str]
    value: Mapped[float]
    __table_args__ = ({"sqlite_with_rowid": False},)
