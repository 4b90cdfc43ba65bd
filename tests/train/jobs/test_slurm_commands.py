"""The commands that are given to SLURM, by programs in the place of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from orl_explorer.train.jobs.launchers.base import Unreachable
from orl_explorer.train.jobs.launchers.slurm import SlurmLauncher
from orl_explorer.train.workspace import Workspace
from tests.train.jobs.test_launchers import scheduled


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands in the place of SLURM's: each keeps its arguments and its input in a file."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, says in (("sbatch", "echo '17;cluster'"), ("squeue", "cat answer"), ("scancel", "true")):
        program = folder / name
        program.write_text(f'#!/bin/sh\ncd {folder}\necho "$@" >{name}.words\n[ -t 0 ] || cat >{name}.input\n{says}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_a_job_of_slurm_is_the_run_itself_and_its_log_gets_the_output(
    workspace: Workspace, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scheduled(workspace)
    options = {"partition": "gpu", "gpus_per_node": 4, "setup": ["module load cuda"]}
    command = ["python", "-P", "-m", "the.worker", "--workspace", "/a b", "1"]
    assert SlurmLauncher(options).start(workspace, run, command) == "17"
    assert (slurm / "sbatch.words").read_text() == (
        f"--parsable --job-name=orl-1 --output={workspace.path}/runs/1/log.txt --open-mode=append --no-requeue "
        "--nodes=1 --ntasks-per-node=1 --partition=gpu --gpus-per-node=4\n"
    )
    assert (slurm / "sbatch.input").read_text() == (
        "#!/bin/bash\nmodule load cuda\nexec python -P -m the.worker --workspace '/a b' 1\n"
    )


def test_on_several_machines_slurm_starts_torchrun_on_each(workspace: Workspace, slurm: Path) -> None:
    run = scheduled(workspace, nodes=2, processes=8)
    SlurmLauncher().start(workspace, run, ["python", "-P", "-m", "the.worker", "--workspace", "/w", "1"])
    assert (slurm / "sbatch.input").read_text() == (
        "#!/bin/bash\n"
        "export PYTHONSAFEPATH=1\n"
        'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)\n'
        "head=$(scontrol show node \"$first\" | sed -n 's/.*NodeAddr=\\([^ ]*\\).*/\\1/p')\n"
        "exec srun --kill-on-bad-exit=1 python -P -m torch.distributed.run --rdzv-backend=c10d "
        '--rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$head:$((20000 + SLURM_JOB_ID % 20000))" '
        "--nnodes=2 --nproc-per-node=4 -m the.worker --workspace /w 1\n"
    )


@pytest.mark.parametrize(
    ("says", "code", "error", "alive"),
    [
        ("PENDING", 0, "", True),
        ("", 0, "", False),
        ("", 1, "slurm_load_jobs error: Invalid job id specified", False),
        ("", 1, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", None),
    ],
)
def test_slurm_says_whether_a_job_lives(
    workspace: Workspace, slurm: Path, says: str, code: int, error: str, alive: bool | None
) -> None:
    (slurm / "squeue").write_text(f"#!/bin/sh\necho '{says}'\necho '{error}' >&2\nexit {code}\n")
    if alive is None:
        with pytest.raises(Unreachable, match="^SLURM does not answer: slurm_load_jobs error: Unable to contact slurm"):
            SlurmLauncher().alive(workspace, scheduled(workspace))
    else:
        assert SlurmLauncher().alive(workspace, scheduled(workspace)) == alive
