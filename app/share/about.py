"""What a shared folder says about its set: where it comes from, its settings, measures and digests."""

from __future__ import annotations

from importlib.metadata import version
from shlex import quote
from typing import TypedDict

from orl_explorer.app.explorer.measures import with_chance
from orl_explorer.app.share.choice import ShareChoice
from orl_explorer.app.share.rows import CHUNK
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import CorrespondenceSet, Encoder
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.sets.read import set_images
from orl_explorer.train.jobs.sets import differences_from_paper
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.digest import photos_digest, set_digest
from orl_explorer.train.mining.features import photo_keys
from orl_explorer.train.mining.quality import kept_measures
from orl_explorer.train.settings import as_text, control
from orl_explorer.train.words import plural


class SharedFact(TypedDict):
    """A line about the set. code: whether it is shown as code."""

    name: str
    value: str
    code: bool


class SharedSetting(TypedDict):
    """A setting of mining. paper: the paper's value, if it is another one."""

    name: str
    value: str
    paper: str


class SharedAbout(TypedDict):
    """What the folder holds. chunk: photos of a file. full: whether there are pictures in full size."""

    set: str
    dataset: str
    made_by: str
    queries: int
    photos: int
    pairs: int
    chunk: int
    full: bool
    holds: list[str]
    facts: list[SharedFact]
    settings: list[SharedSetting]
    measures: list[SharedFact]


def about_of(choice: ShareChoice) -> SharedAbout:
    """Return what the folder says about its set."""
    store, mined = choice.workspace.store, choice.mined
    encoder = encoder_by_id(store, mined.encoder_id)
    dataset = dataset_by_id(store, mined.dataset_id).name
    photos = photos_digest(photo_keys(list(set_images(store, mined.id))))
    different = differences_from_paper(mined)
    trained = "with labels" if encoder.supervised else f"from {encoder.learned_from}"
    counts = (
        f"{plural(mined.image_count, 'photo')}, {plural(mined.candidate_count, 'RoI')}, "
        f"{plural(mined.pair_count, 'pair')}"
    )
    return {
        "set": mined.name,
        "dataset": dataset,
        "made_by": f"ORL Explorer {version('orl-explorer')}",
        "queries": choice.queries,
        "photos": len(choice.images),
        "pairs": choice.pairs,
        "chunk": CHUNK,
        "full": choice.asked.pictures == "full",
        "holds": choice.described(),
        "facts": [
            _fact("Whole set", counts),
            _fact("Dataset", dataset),
            _fact("Encoder", f"{encoder.name} ({encoder.architecture}), trained {trained}"),
            _fact("Mined (UTC)", f"{mined.created_at:%Y-%m-%d %H:%M}"),
            _fact("Digest of the set (SHA-256)", set_digest(store, mined), code=True),
            _fact("Digest of its photos (SHA-256)", photos, code=True),
            _fact("Weights of the encoder (SHA-256)", encoder.weights_sha256, code=True),
            _fact("Make the same set", command(mined, dataset, encoder), code=True),
            _fact(
                "Or get it from its owner", f"orl export {quote(mined.name)} --format archive --out set.zip", code=True
            ),
            _fact(
                "and import it beside the same photos",
                f"orl import archive set.zip --dataset {quote(dataset)}",
                code=True,
            ),
        ],
        "settings": [
            {
                "name": control(MineConfig, name).label,
                "value": as_text(value),
                "paper": as_text(different[name][1]) if name in different else "",
            }
            for name, value in MineConfig.of(mined)
        ],
        "measures": [
            _fact(one.label, f"{one.value:,.4g}" + ("" if one.chance is None else f" (by chance {one.chance:,.4g})"))
            for group in with_chance(kept_measures(mined)).values()
            for one in group
        ],
    }


def command(mined: CorrespondenceSet, dataset: str, encoder: Encoder) -> str:
    """Return the command that mines a set with the same settings, for people to copy."""
    parts = [
        "orl mine",
        f"--dataset {quote(dataset)}",
        f"--encoder {quote(encoder.name)}",
        f"--name {quote(mined.name)}",
    ]
    for name, (value, _) in differences_from_paper(mined).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            parts.append(f"--{'' if value else 'no-'}{flag}")
        else:
            parts.append(f"--{flag} {quote(str(value))}")
    return " ".join(parts)


def _fact(name: str, value: str, code: bool = False) -> SharedFact:
    return {"name": name, "value": value, "code": code}
