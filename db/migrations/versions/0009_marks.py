"""Tags, selections, what a set's image says of its pairs, and sets that were deleted"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("dataset", sa.Column("marks", sa.Integer(), server_default="0", nullable=False))
    op.add_column("set_image", sa.Column("cycle_share", sa.Float(), nullable=True))
    op.add_column("set_image", sa.Column("mean_margin", sa.Float(), nullable=True))
    _sum_up_pairs()
    op.create_table(
        "tag",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name="fk_tag_image_id_image", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("image_id", "tag", "author", name="pk_tag"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tag_tag_image_id", "tag", ["tag", "image_id"])
    op.create_table(
        "pair_tag",
        sa.Column("query_roi_id", sa.Integer(), nullable=False),
        sa.Column("key_roi_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["query_roi_id"], ["roi.id"], name="fk_pair_tag_query_roi_id_roi", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["key_roi_id"], ["roi.id"], name="fk_pair_tag_key_roi_id_roi", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("query_roi_id", "key_roi_id", "tag", "author", name="pk_pair_tag"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_pair_tag_tag_query_roi_id_key_roi_id", "pair_tag", ["tag", "query_roi_id", "key_roi_id"])
    op.create_table(
        "selection",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("image_ids", sa.LargeBinary(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name="fk_selection_dataset_id_dataset", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_selection"),
    )
    op.create_index("ix_selection_dataset_id", "selection", ["dataset_id"])
    op.create_table(
        "deleted_set",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("encoder_id", sa.Integer(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("pair_count", sa.Integer(), nullable=False),
        sa.Column("quality", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deleted_set"),
    )


def _sum_up_pairs() -> None:
    """Sets of an older store get what mining writes from now on."""
    consistent = "AVG(CASE WHEN pair.cycle IS NULL THEN NULL WHEN pair.cycle THEN 1.0 ELSE 0.0 END)"
    own = "FROM pair WHERE pair.set_id = set_image.set_id AND pair.image_id = set_image.image_id"
    op.execute(
        f"UPDATE set_image SET cycle_share = (SELECT {consistent} {own}), mean_margin = (SELECT AVG(pair.margin) {own})"
    )
