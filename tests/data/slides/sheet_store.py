"""A store with slides of every kind the contact sheet tells apart; one id tries to be markup."""

from __future__ import annotations

import numpy as np
from mirror_data.store import Slide, Store, Tiling, write_slide, write_tiling

EVIL = 'S00"><img src=x onerror="window.broken=1"><script>window.broken=1</script>'
TILING = "256px_0.5mpp_qc"


def fill(store: Store) -> Store:
    """Ten sound slides, one of them EVIL, four to look at, two imported bags."""
    add_slide(store, EVIL, 0.5)
    for k in range(1, 10):
        add_slide(store, f"S{k:02d}", 0.44 + 0.01 * k)
    add_slide(store, "blank", 0.0)
    add_slide(store, "smeared", 1.0)
    add_slide(store, "sparse", 0.04)
    add_slide(store, "unsharp", 0.48, dropped={"empty": 0, "pen": 1, "blurred": 30})
    for k in range(2):
        write_slide(store, Slide(f"bag{k}", f"bag{k}", reader="import clam"))
    return store


def add_slide(
    store: Store, slide_id: str, share: float, *, dropped: dict[str, int] | None = None, tiling: str = TILING
) -> None:
    """A slide of 1280 x 960 pixels at 0.5 um whose lower ``share`` is tissue but for a rim; a tile is 8 x 8 of the
    mask."""
    mask = np.zeros((60, 80), np.uint8)
    rim = 0 if share == 1 else 4
    height = round(share * mask.size / (80 - 2 * rim))
    if height:
        mask[60 - rim - height : 60 - rim, rim : 80 - rim] = 1
    thumbnail = np.where(mask[..., None] == 1, (200, 120, 170), 243).astype(np.uint8)
    found = {"threshold": 30, "transparent_share": 0.0}
    slide = Slide(
        slide_id, "P", (1280, 960), 0.5, "aperio", "test 1", {}, mask, 8.0, {"mpp": 8, "found": found}, thumbnail
    )
    write_slide(store, slide)
    corners = [(x, y) for y in range(0, 53, 8) for x in range(0, 73, 8) if mask[y : y + 8, x : x + 8].mean() > 0.25]
    count = len(corners)
    if dropped:
        corners = corners[: max(1, count - sum(dropped.values()))]
    coords = np.array(corners, np.int32).reshape(-1, 2) * 16
    parameters = {
        "found": {"candidates": 70, "judged": count, "dropped": dropped or {"empty": 0, "pen": 0, "blurred": 0}}
    }
    write_tiling(
        store, Tiling(slide_id, tiling, len(coords), coords, 256, 0.5, 128.0, min_tissue=0.25, parameters=parameters)
    )
