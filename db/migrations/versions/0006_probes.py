"""Pairs between fixed photos at every checkpoint of a training"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "probe_pair",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("neighbor_id", sa.Integer(), nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.Column("query_roi_id", sa.Integer(), nullable=False),
        sa.Column("key_roi_id", sa.Integer(), nullable=False),
        sa.Column("similarity", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_probe_pair_run_id_run", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_probe_pair_image_id_image"),
        sa.ForeignKeyConstraint(["neighbor_id"], ["image.id"], name="fk_probe_pair_neighbor_id_image"),
        sa.ForeignKeyConstraint(
            ["query_roi_id"], ["roi.id"], name="fk_probe_pair_query_roi_id_roi", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["key_roi_id"], ["roi.id"], name="fk_probe_pair_key_roi_id_roi", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint(
            "run_id",
            "step",
            "image_id",
            "neighbor_id",
            "rank",
            name="pk_probe_pair_run_id_step_image_id_neighbor_id_rank",
        ),
        sqlite_with_rowid=False,
    )
