"""``mirror-model train``."""

from __future__ import annotations

from pathlib import Path

import click
from mirror_data.cli.app import json_option, overwrite_option, store_option, tell
from mirror_data.versions import require_torch


def _show_options(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Not eager, while ``--method`` is: so the method is known, and missing options are not yet asked for."""
    if not wanted or context.resilient_parsing:
        return
    from mirror_model.baselines.config import config_of
    from mirror_model.config import describe_options

    for line in describe_options(config_of(context.params["method"])()):
        click.echo(line)
    context.exit()


@click.command("train")
@store_option
@click.option("--run", "run_name", required=True, metavar="NAME", help="Name of the run in the store.")
@click.option("--split", default="folds", show_default=True, metavar="NAME", help="The split whose folds are trained.")
@click.option("--fold", default="all", show_default=True, metavar="K|all", help="Fold to train, from 0.")
@click.option(
    "--method",
    default="mirror",
    show_default=True,
    is_eager=True,
    metavar="M",
    help="What to train: mirror, tangle, linear, abmil, transmil, porpoise.",
)
@click.option("--task", metavar="subtype|survival", help="What the last four, which are supervised, are trained for.")
@click.option("--genes", metavar="NAME", help="Gene selection of the store; every gene without it.")
@click.option("--tiling", metavar="T", help="Tiling of the features; needed where there are several.")
@click.option("--encoder", metavar="E", help="Encoder of the features; needed where there are several.")
@click.option("--config", type=click.Path(path_type=Path), metavar="RECIPE.toml", help="Settings; its table [train].")
@click.option("--variant", metavar="NAME", help="One of the recipe's tables [variant.NAME].")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One setting, such as model.dim=192.")
@click.option("--checkpoints", metavar="DIR", help="Where checkpoints go; COHORT.runs beside the store by default.")
@click.option("--workers", type=click.IntRange(min=1), help="Folds trained side by side; as many as there are cores.")
@click.option("--embed/--no-embed", default=True, show_default=True, help="Then embed or predict every patient.")
@overwrite_option
@json_option
@click.option(
    "--options", is_flag=True, expose_value=False, callback=_show_options, help="List every setting of the method."
)
def command(
    store_url: str,
    run_name: str,
    split: str,
    fold: str,
    method: str,
    task: str | None,
    genes: str | None,
    tiling: str | None,
    encoder: str | None,
    config: Path | None,
    variant: str | None,
    settings: tuple[str, ...],
    checkpoints: str | None,
    workers: int | None,
    embed: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Train a method on the training part of each fold; the test part is never looked at.

    What is trained with equal settings on equal data is skipped, what was interrupted goes on where it stopped. At the
    end every patient is embedded with each fold's network, or predicted if the method is supervised, and tiles are
    weighed (`mirror-model embed --attention` does this alone). Under torchrun or accelerate launch, all processes share
    every batch.
    """
    require_torch()
    from mirror_model.baselines.config import config_of
    from mirror_model.config import read_config
    from mirror_model.embed import describe as describe_embedded
    from mirror_model.embed import embed_folds
    from mirror_model.folds import describe, plan_jobs, train_folds
    from mirror_model.processes import joined

    settled = read_config(config, settings, kind=config_of(method), variant=variant)
    jobs = plan_jobs(
        store_url,
        run_name,
        method=method,
        task=task,
        split=split,
        fold=fold,
        config=settled,
        genes=genes,
        tiling=tiling,
        encoder=encoder,
        checkpoints=checkpoints,
        overwrite=overwrite,
    )
    with joined(settled.runtime) as processes:
        outcomes = train_folds(jobs, workers, processes)
    if not processes.leads:
        return
    embedded = embed_folds(store_url, run_name, fold, attention=True, checkpoints=checkpoints) if embed else []
    result = {"run": run_name, "folds": [vars(one) for one in outcomes], "embedded": [vars(one) for one in embedded]}
    tell(result, as_json, [*describe(outcomes), *describe_embedded(embedded)])
