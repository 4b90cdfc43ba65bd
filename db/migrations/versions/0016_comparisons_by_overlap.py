"""Comparisons of sets by overlap of boxes; the earlier ones, of equal boxes alone, are made anew when asked for"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.drop_table("image_comparison")
    op.drop_table("set_comparison")
    op.create_table(
        "set_comparison",
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("second_id", sa.Integer(), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["first_id"],
            ["correspondence_set.id"],
            name="fk_set_comparison_first_id_correspondence_set",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["second_id"],
            ["correspondence_set.id"],
            name="fk_set_comparison_second_id_correspondence_set",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("first_id", "second_id", "percent", name="pk_set_comparison"),
    )
    op.create_table(
        "image_comparison",
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("second_id", sa.Integer(), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("neighbors", sa.Float(), nullable=False),
        sa.Column("rois", sa.Float(), nullable=False),
        sa.Column("pairs", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["first_id", "second_id", "percent"],
            ["set_comparison.first_id", "set_comparison.second_id", "set_comparison.percent"],
            name="fk_image_comparison_first_id_set_comparison",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_image_comparison_image_id_image"),
        sa.PrimaryKeyConstraint("first_id", "second_id", "percent", "image_id", name="pk_image_comparison"),
        sqlite_with_rowid=False,
    )
    columns = ["first_id", "second_id", "percent", "pairs", "image_id"]
    op.create_index("ix_image_comparison_pairs", "image_comparison", columns)
