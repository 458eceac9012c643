"""Command lines that cannot be meant: names, numbers, files, settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.data.slides.conftest import write_slide
from tests.faults.corpus.cases import Bench, Case

BAD_NAMES = {"climbs": "../../x", "NUL": "x\0y", "300 bytes": "x" * 300, "a line break": "x\ny", "nothing": ""}


def _on(program: str, *command: str) -> Callable[[Bench], list[object]]:
    """A command on the trained cohort; ``@`` at the start of a word is the bench's folder."""

    def words(bench: Bench) -> list[object]:
        more = [str(bench.folder / word[1:]) if word.startswith("@") else word for word in command[1:]]
        return [program, command[0], "--store", bench.cohort(), *more]

    return words


def _names() -> list[Case]:
    found = []
    for what, name in BAD_NAMES.items():
        for program, *command in (
            ("mirror-data", "split", "--name", name),
            ("mirror-data", "genes", "--split", "main", "--name", name),
            ("mirror-model", "train", "--split", "main", "--run", name),
        ):
            found.append(Case(f"name of {command[0]} {what}", _on(program, *command), "BAD_PATH", (command[-2],)))
    found += [
        Case(f"asked for a run that {what}", _on("mirror-eval", "subtype", "--run", name), code)
        for what, name, code in (("climbs", "../../x", "MISSING"), ("has a NUL", "x\0y", "BAD_PATH"))
    ]
    return found


def _tile(name: str, code: str, told: Sequence[str], *more: str) -> Case:
    def words(bench: Bench) -> list[object]:
        (bench.folder / "slides").mkdir()
        write_slide(bench.folder / "slides" / "a.svs")
        return bench.tile(*more)

    return Case(f"tile {name}", words, code, tuple(told))


def _inside(bench: Bench) -> list[object]:
    words = ["mirror-data", "tile", bench.folder / "slides", "--store", bench.folder / "slides" / "c.zarr"]
    (bench.folder / "slides").mkdir()
    write_slide(bench.folder / "slides" / "a.svs")
    return words


TILE = (
    *(
        _tile(f"{option} {value}", "BAD_OPTION", [option], option, value)
        for option, value in (
            ("--batch-size", "0"),
            ("--mpp", "-0.5"),
            ("--mpp", "nan"),
            ("--mpp-override", "-1"),
            ("--min-tissue", "1.5"),
            ("--tile-px", "0"),
            ("--overlap", "256"),
            ("--workers", "0"),
            ("--precision", "fp16"),
            ("--encoder", "resnet50"),
            ("--encoder", "hf:owkin/phikon@main"),
        )
    ),
    _tile("--tile-px many", "Error", ["--tile-px"], "--tile-px", "many"),
    _tile("--no-such-option", "Error", ["No such option"], "--no-such-option"),
    _tile("of a missing table", "NOT_FOUND", ["gone.csv"], "--slides-table", "gone.csv"),
    _tile("of missing regions", "NOT_FOUND", ["nowhere"], "--regions", "nowhere"),
    Case("tile into the slides", _inside, "BAD_OPTION", ("--store", "outside the folder of slides")),
    Case("tile nothing", lambda b: ["mirror-data", "tile", "--store", b.store], "Error", ("SLIDES",)),
)


def _train(name: str, code: str, told: Sequence[str], *more: str) -> Case:
    usual = {"--run": "new", "--split": "main", "--fold": "0"}  # a fold alone is trained in this process
    given = [word for name, value in usual.items() if name not in more for word in (name, value)]
    return Case(f"train {name}", _on("mirror-model", "train", *given, *more), code, tuple(told))


def _recipe(name: str, text: str | bytes, *told: str, more: Sequence[str] = ()) -> Case:
    def words(bench: Bench) -> list[object]:
        recipe = bench.file("recipe.toml", text)
        how = ["--run", "new", "--split", "main", "--fold", "0", "--config", recipe, *more]
        return ["mirror-model", "train", "--store", bench.cohort(), *how]

    return Case(f"recipe {name}", words, "BAD_OPTION", told)


TRAIN = (
    _train("an unknown setting", "BAD_OPTION", ["model.dimm", "did you mean model.dim"], "--set", "model.dimm=3"),
    _train("a batch of zero", "BAD_OPTION", ["batch_size", "got: 0"], "--set", "batch_size=0"),
    _train("half an epoch", "BAD_OPTION", ["epochs", "whole number"], "--set", "epochs=0.5"),
    _train("a rate of NaN", "BAD_OPTION", ["optimiser.lr"], "--set", "optimiser.lr=nan"),
    _train("a setting without a value", "BAD_OPTION", ["--set", "key=value"], "--set", "epochs"),
    _train("two settings in one", "BAD_OPTION", ["seed"], "--set", "seed=1\nepochs=5"),
    _train("a setting 3,000 deep", "BAD_OPTION", ["seed"], "--set", f"seed={'[' * 3000}"),
    _train("a seed beyond all", "BAD_OPTION", ["seed"], "--set", "seed=99999999999999999999"),
    _train("a network too wide", "BAD_OPTION", ["model.dim"], "--set", "model.dim=9600000"),
    _train("more threads than there are", "BAD_OPTION", ["runtime.threads"], "--set", "runtime.threads=100000"),
    _train("an unknown device", "BAD_OPTION", ["runtime.device", "tpu"], "--set", "runtime.device=tpu"),
    _train("an unknown method", "BAD_OPTION", ["--method", "one of mirror"], "--method", "magic"),
    _train("no task", "BAD_OPTION", ["--task"], "--method", "abmil"),
    _train("an unknown task", "BAD_OPTION", ["grade"], "--method", "abmil", "--task", "grade"),
    _train("a task it has no use for", "BAD_OPTION", ["--task", "subtype"], "--task", "subtype"),
    _train("an unknown split", "MISSING", ["splits/absent", "one of: main"], "--split", "absent"),
    _train("an unknown selection", "MISSING", ["genes/absent/fold_0", "one of: top"], "--genes", "absent"),
    _train("an unknown encoder", "BAD_OPTION", ["--encoder toy"], "--encoder", "absent"),
    _train("an unknown tiling", "BAD_OPTION", ["--tiling grid"], "--tiling", "absent"),
    _train("fold 9", "BAD_OPTION", ["--fold", "all, or 0 to 1", "got: 9"], "--fold", "9"),
    _train("fold ²", "BAD_OPTION", ["--fold", "all, or 0 to 1"], "--fold", "²"),
    _train("no workers", "Error", ["--workers"], "--workers", "0"),
    _train(
        "other settings under an old name", "MISMATCH", ["config.seed", "--overwrite"], "--run", "r", "--set", "seed=7"
    ),
    _train("checkpoints in the store", "BAD_OPTION", ["--checkpoints"], "--checkpoints", "@cohort.zarr/checkpoints"),
    _train(
        "checkpoints in a file",
        "BAD_PATH",
        ["model.json"],
        "--checkpoints",
        "@cohort.zarr/../cohort.runs/r/fold_0/model.json",
    ),
    _train("no recipe", "NOT_FOUND", ["absent.toml"], "--config", "absent.toml"),
    _train("a variant of no recipe", "BAD_OPTION", ["--variant", "--config"], "--variant", "wide"),
    _recipe("that is no TOML", "epochs = \n", "recipe.toml"),
    _recipe("in UTF-16", "epochs = 1\n".encode("utf-16"), "recipe.toml"),
    _recipe("3,000 deep", f"x = {'[' * 3000}{']' * 3000}\n", "recipe.toml"),
    _recipe("with an unknown key", "[train]\nepoch = 3\n", "epoch", "did you mean epochs"),
    _recipe("whose train is a number", "train = 3\n", "[train]", more=("--set", "seed=1")),
    _recipe("with two tables train", "[[train]]\nepochs = 1\n", "[train]"),
    _recipe("whose section is a number", "[train]\nmodel = 3\n", "model"),
    _recipe("without variants", "epochs = 1\n", "--variant", more=("--variant", "x")),
    _recipe("whose variants are a number", "variant = 5\n", "[variant]", more=("--variant", "x")),
    _recipe("whose variant is a number", "[variant]\nx = 5\n", "[variant.x]", more=("--variant", "x")),
)

AFTER = (
    Case("embed an unknown run", _on("mirror-model", "embed", "--run", "never"), "MISSING", ("runs/never", "train")),
    Case(
        "embed fold 7",
        _on("mirror-model", "embed", "--run", "r", "--fold", "7"),
        "MISSING",
        ("all, or one of 0", "got: 7"),
    ),
    *(
        Case(f"attribute {name}", _on("mirror-model", "attribute", "--run", "r", *more), code, told)
        for name, more, code, told in (
            ("into no folder", ("--out", "@no/x.csv"), "NOT_FOUND", ("create it first",)),
            ("of an unknown part", ("--out", "@x.csv", "--part", "exam"), "BAD_OPTION", ("--part",)),
            ("of fold 7", ("--out", "@x.csv", "--fold", "7"), "MISSING", ("all, or one of 0", "got: 7")),
            ("with no gene sets", ("--out", "@x.csv", "--gene-sets", "gone.gmt"), "NOT_FOUND", ("gone.gmt",)),
        )
    ),
)
CASES = (*_names(), *TILE, *TRAIN, *AFTER)
