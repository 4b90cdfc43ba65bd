"""Datasets that unite others"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "dataset_member",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name="fk_dataset_member_dataset_id_dataset", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["member_id"], ["dataset.id"], name="fk_dataset_member_member_id_dataset"),
        sa.PrimaryKeyConstraint("dataset_id", "member_id", name="pk_dataset_member_dataset_id_member_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_dataset_member_member_id", "dataset_member", ["member_id"])
