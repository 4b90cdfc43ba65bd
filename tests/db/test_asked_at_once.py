"""Threads of a process that has just started ask the store the same question at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from orl_explorer.db import photos
from orl_explorer.db.people.verdicts import judge
from orl_explorer.db.photos import FoundPhoto
from orl_explorer.db.store import open_store, sqlite_url
from tests.db.mined import add_set

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, sys, threading
from orl_explorer.db.people.verdicts import verdicts_of, wrong_pairs
from orl_explorer.db.sets.read import pair_rows, pairs_of
from orl_explorer.db.store import open_store

sys.setswitchinterval(1e-6)  # seconds: threads take turns within a line
store, together = open_store(sys.argv[1]), threading.Barrier(12)
questions = {
    "verdicts": lambda: list(verdicts_of(store, 1, "ann").values()),
    "wrong": lambda: list(map(list, wrong_pairs(store))),
    "pairs": lambda: [pair.similarity for pair in pairs_of(store, 1, 1)],
    "rows": lambda: [row.similarity for row in pair_rows(store, 1, [1])[1]],
}
answers = {question: [] for question in questions}

def ask(question):
    together.wait()
    try:
        answer = questions[question]()
    except Exception as problem:
        answer = f"{type(problem).__name__}: {problem}"
    if answer not in answers[question]:
        answers[question].append(answer)

for question in questions:
    people = [threading.Thread(target=ask, args=(question,)) for _ in range(12)]
    for person in people:
        person.start()
    for person in people:
        person.join()
print(json.dumps(answers))
"""


def test_all_who_ask_first_at_once_get_the_answer(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "orl.sqlite")
    store = open_store(url)
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    photos.add_photos(store, 1, [FoundPhoto(f"{n}.jpg", 64, 48) for n in range(2)], {})
    add_set(store, "set", {1: 1, 2: 1}, {1: [(2, 0, 0)]})
    assert judge(store, (1, (0, 0, 9, 9)), (2, (0, 0, 9, 9)), "wrong", "ann")
    asked = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(url)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    answers = json.loads(asked.stdout)
    assert answers == {"verdicts": [["wrong"]], "wrong": [[[1, 2]]], "pairs": [[0.75]], "rows": [[0.75]]}
