"""What a run notes of when and where it was made: the commit as git itself gives it, the rest as the system does."""

import datetime
import json
import os
import shutil
import subprocess

import pytest

from gpunet.backend import get_num_threads, use_backend
from gpunet.train import TrainConfig, TrainingRun
from gpunet.train.environment import checkout_commit, environment
from tests.runs import few_digits


@pytest.fixture
def checkout(tmp_path):
    """A repository with two commits, and a function that calls git in it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "checkout"
    folder.mkdir()

    def git(*words):
        named = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=trunk"]
        return subprocess.run(["git", *named, *words], cwd=folder, check=True, capture_output=True, text=True).stdout

    git("init")
    for message in ("one", "two"):
        git("commit", "--allow-empty", "-m", message)
    return folder, git


def test_the_commit_is_the_one_that_git_names(checkout, tmp_path):
    folder, git = checkout
    commit = git("rev-parse", "HEAD").strip()
    assert checkout_commit(folder) == commit
    git("pack-refs", "--all")
    assert checkout_commit(folder) == commit
    git("checkout", "HEAD~1")
    assert checkout_commit(folder) == git("rev-parse", "HEAD").strip() != commit
    git("worktree", "add", "-b", "side/branch", str(tmp_path / "other"), commit)
    assert checkout_commit(tmp_path / "other") == commit


def test_where_there_is_no_checkout_there_is_no_commit(tmp_path):
    assert checkout_commit(tmp_path) is None
    (tmp_path / ".git").mkdir()
    for head in ("", "ref: refs/heads/none", "ref: ../../etc/passwd", "no commit"):
        (tmp_path / ".git" / "HEAD").write_text(head)
        assert checkout_commit(tmp_path) is None


def test_a_run_notes_it_at_its_beginning_and_at_its_end(tmp_path):
    with use_backend("numpy"), few_digits():
        before = datetime.datetime.now().astimezone().replace(microsecond=0)
        TrainingRun(TrainConfig(model="tiny", epochs=1), tmp_path, show_progress=False).run()
        after = datetime.datetime.now().astimezone()
        noted = [json.loads((tmp_path / name).read_text())["environment"] for name in ("config.json", "summary.json")]
        for each in noted:
            assert set(each) == set(environment())
            assert (each["threads"], each["cores"], each["device"]) == (get_num_threads(), os.cpu_count(), None)
            assert before <= datetime.datetime.fromisoformat(each["date"]) <= after
