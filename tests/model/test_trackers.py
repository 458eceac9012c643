from __future__ import annotations

from pathlib import Path

import pytest
from mirror_data.errors import BadInput
from mirror_data.store import Store
from mirror_model import trackers
from mirror_model.config import read_config
from mirror_model.folds import plan_jobs
from mirror_model.jobs import TrainJob
from mirror_model.metrics_log import MetricsLog
from mirror_model.runs import train_fold
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_tensorboard_hears_what_the_log_says(store: Store, small_settings: tuple[str, ...]) -> None:
    config = read_config(None, [*small_settings, "runtime.track=tensorboard", "epochs=2"])
    outcome = train_fold(TrainJob(store.url, "run", "mirror", "main", 0, config))
    folder = Path(outcome.folder)
    events = EventAccumulator(str(folder / "tensorboard" / "run" / "fold_0"))
    events.Reload()
    log = MetricsLog(folder).read()
    for name in ("align", "validation_loss", "recall10_slide_rna", "modality_gap", "gradient_norm"):
        told = {event.step: event.value for event in events.Scalars(name)}
        assert told == pytest.approx({int(line["epoch"]): line[name] for line in log if name in line}, rel=1e-5)
    plain = read_config(None, [*small_settings, "epochs=2"])
    assert train_fold(TrainJob(store.url, "run", "mirror", "main", 0, plain)).status == "skipped"


def test_a_missing_library_is_named_before_anything_is_trained(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "wandb" else object())
    config = read_config(None, ["runtime.track=wandb"])
    with pytest.raises(BadInput) as missing:
        plan_jobs(store.url, "run", split="main", config=config)
    assert (missing.value.code, missing.value.expected) == ("NOT_INSTALLED", "wandb")
    with pytest.raises(BadInput, match="BAD_OPTION"):
        read_config(None, ["runtime.track=paper"])
