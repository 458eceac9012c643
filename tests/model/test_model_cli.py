from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mirror_data.cli.app import run
from mirror_data.store import Store, read_run
from mirror_model.cli.main import cli


def arguments(store: Store, settings: tuple[str, ...], *more: str) -> list[str]:
    sets = [part for setting in settings for part in ("--set", setting)]
    return ["train", "--store", store.url, "--run", "r", "--split", "main", "--fold", "0", *sets, *more]


def test_train_and_embed(
    store: Store, small_settings: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[train.model]\nmask_ratio = 0.5\n[report]\ntitle = 'not ours'\n")
    more = ("--genes", "top", "--config", str(recipe), "--json")
    assert run(cli, arguments(store, small_settings, *more)) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["run"] == "r"
    assert [fold["status"] for fold in result["folds"]] == ["trained"]
    assert read_run(store, "r", 0).config["model"]["mask_ratio"] == 0.5
    assert read_run(store, "r", 0).config["genes"] == "top"
    assert run(cli, ["embed", "--store", store.url, "--run", "r", "--attention"]) == 0
    assert "34 patients by slide, 34 by RNA, attention of 36 slides" in capsys.readouterr().out
    assert run(cli, ["embed", "--store", store.url, "--run", "r", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folds"][0]["status"] == "skipped"


def test_errors_name_the_key_and_exit_with_2(
    store: Store, small_settings: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for more, words in (
        (("--set", "model.dimm=3"), ("BAD_OPTION", "model.dimm", "model.dim")),
        (("--set", "batch_size=0"), ("BAD_OPTION", "batch_size")),
        (("--method", "magic"), ("BAD_OPTION", "--method", "mirror")),
        (("--encoder", "absent"), ("BAD_OPTION", "--encoder toy")),
        (("--split", "absent"), ("MISSING", "splits/absent", "main")),
        (("--genes", "absent"), ("MISSING", "genes/absent/fold_0", "top")),
        (("--config", "absent.toml"), ("NOT_FOUND", "absent.toml")),
        (("--fold", "9"), ("BAD_OPTION", "--fold", "all, or 0 to 1")),
    ):
        assert run(cli, arguments(store, small_settings, *more)) == 2, more
        shown = capsys.readouterr().err
        assert all(word in shown for word in words), shown
        assert "Traceback" not in shown
    assert run(cli, ["train", "--store", f"{store.url}x", "--run", "r", "--split", "main"]) == 2
    assert "NOT_A_STORE" in capsys.readouterr().err
    assert run(cli, ["embed", "--store", store.url, "--run", "never"]) == 2
    assert "MISSING" in capsys.readouterr().err


def test_changed_settings_need_overwrite(
    store: Store, small_settings: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, arguments(store, small_settings)) == 0
    assert run(cli, arguments(store, small_settings, "--set", "seed=4")) == 2
    shown = capsys.readouterr().err
    assert "MISMATCH" in shown
    assert "config.seed: 0 -> 4" in shown
    assert run(cli, arguments(store, small_settings, "--set", "seed=4", "--overwrite")) == 0


def test_sigterm_saves_exits_75_and_the_next_run_ends_the_same(
    store: Store, small_settings: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = (*small_settings, "epochs=10")
    log = tmp_path / "stopped" / "r" / "fold_0" / "metrics.jsonl"

    def stop() -> None:
        while not log.exists() or len(log.read_text().splitlines()) < 2:
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=stop, daemon=True)
    killer.start()
    assert run(cli, arguments(store, longer, "--checkpoints", str(tmp_path / "stopped"))) == 75
    assert "INTERRUPTED" in capsys.readouterr().err
    assert not store.has("runs/r/fold_0")
    assert 2 <= len(log.read_text().splitlines()) < 11
    assert run(cli, arguments(store, longer, "--checkpoints", str(tmp_path / "stopped"), "--json")) == 0
    assert json.loads(capsys.readouterr().out)["folds"][0]["status"] == "resumed"
    stopped = read_run(store, "r", 0)
    again = arguments(store, longer, "--checkpoints", str(tmp_path / "whole"), "--overwrite")
    assert run(cli, again) == 0
    assert read_run(store, "r", 0).checkpoint_sha256 == stopped.checkpoint_sha256
    assert read_run(store, "r", 0).metrics == stopped.metrics


def test_every_setting_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["train", "--options"]) == 0
    shown = capsys.readouterr().out
    assert "model.attention = exact    # exact | nystrom" in shown
    assert "epochs = 100" in shown


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mirror_data.cli.app import run; from mirror_model.cli.main import cli;"
        "status = run(cli, ['train', '--help']) or run(cli, ['embed', '--help']) or run(cli, ['--help']);"
        "heavy = {'torch', 'numpy', 'pandas', 'zarr', 'pydantic'} & set(sys.modules); assert not heavy, heavy;"
        "sys.exit(status)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--split" in result.stdout
