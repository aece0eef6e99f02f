"""Folders of runs that gpunet wrote before its core was built anew (93e3790): they load, evaluate and go on as before.

Recorded with the NumPy backend; what came out then stands here. Sums are taken in another order now, hence tolerances.

    finished    gpunet train --epochs 2 --keep 1
    stopped     gpunet train --model lenet5 --optimizer adam --ema 0.99 --clip 1 --epochs 3 --keep 1
                --checkpoint-steps 20, by Ctrl-C after one epoch and 10 batches; without its model.safetensors, which
                resuming does not read
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet.cli import main
from gpunet.data import Digits
from gpunet.train import evaluate_run

RUNS = Path(__file__).parent / "recorded" / "old_runs"

pytestmark = pytest.mark.usefixtures("numpy_backend")


def test_a_finished_run_evaluates_to_what_it_was():
    recorded = json.loads((RUNS / "finished" / "summary.json").read_text())
    evaluation, classes = evaluate_run(RUNS / "finished")
    assert list(classes) == recorded["classes"]
    assert evaluation.loss == pytest.approx(recorded["test_loss"], rel=1e-5)
    assert evaluation.accuracy == recorded["test_accuracy"] == pytest.approx(0.958333, abs=1e-6)
    assert evaluation.confusion.tolist() == recorded["confusion"]


def test_its_classifier_tells_the_digits():
    digits = Digits(train=False)
    best = [names[0][0] for names in gpunet.load(RUNS / "finished").predict(digits.images)]
    assert np.mean([name == str(label) for name, label in zip(best, digits.labels, strict=True)]) > 0.95


def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, capsys):
    """Weights, their averages, the state of Adam and of the random numbers all come from the checkpoint."""
    shutil.copytree(RUNS / "stopped", tmp_path / "run")
    assert main(["train", "--resume", "--quiet", "--json", "--out", str(tmp_path / "run")]) == 0
    resumed = json.loads(capsys.readouterr().out)
    assert (resumed["epochs_done"], resumed["steps_done"], resumed["interrupted"]) == (3, 132, False)
    assert resumed["test_loss"] == pytest.approx(0.52467286851671, rel=1e-3)
    assert resumed["test_accuracy"] == pytest.approx(0.897222, abs=2 / 360)
    losses = [json.loads(line)["train_loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses[0] == 2.02983942898837  # as recorded: it is not run again
    assert losses[2] == pytest.approx(0.9602303938432173, rel=1e-3)
