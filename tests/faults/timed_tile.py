"""``mirror-data tile`` within limits: ``timed_tile.py LOG MEGABYTES tile ...``, as a process of its own.

The command runs as ever, but for two things: this process and its workers may not have more memory than stated, and
each slide's CPU seconds are written down, which do not depend on what else the machine has to do.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from mirror_data.slides import batch
from mirror_data.slides.pipeline import SlideJob, SlideOutcome, encoder_of, tile_slide

LOG = "MIRROR_TEST_LOG"


def timed(job: SlideJob, *told: Any) -> SlideOutcome:
    """`tile_slide`, with a line in the log whatever becomes of it."""
    encoder_of(job.options.encoder, job.workers)  # each worker loads it once, which is no slide's fault
    began = time.process_time()
    try:
        return tile_slide(job, *told)
    finally:
        row = {"id": job.source.slide_id, "seconds": time.process_time() - began}
        with Path(os.environ[LOG]).open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    from mirror_data.cli.app import run
    from mirror_data.cli.main import cli

    from tests.faults import timed_tile

    os.environ[LOG] = sys.argv[1]
    resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]) << 20,) * 2)
    batch.tile_slide = timed_tile.timed  # by its importable name, so that it can be sent to a worker
    sys.exit(run(cli, sys.argv[3:]))
