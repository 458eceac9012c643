# Steps that the recipes on region bags share; sourced by them. Needs: here, data, store.
step() { printf '\n$ %s\n' "$*" >&2; "$@"; }
once() { # once KEY COMMAND...: skip what the store already holds
    if [ -f "$store/$1/zarr.json" ]; then printf '\n(%s is in the store)\n' "$1" >&2; else step "${@:2}"; fi
}

folds() { # folds FOLDER: the published folds, with 15 % of train held out for validation, and without
    once splits/published mirror-data split --store "$store" --name published --from "$1"
    once splits/refit mirror-data split --store "$store" --name refit --validation 0 --from "$1"
}

pretrain() { # pretrain RUN ARGUMENTS...: without labels, so on all patients outside the test part
    step mirror-model train --store "$store" --run "$1" --split refit "${@:2}"
}

supervise() { # supervise METHOD ARGUMENTS...: on labels, which the validation part stops
    for task in subtype survival; do
        step mirror-model train --store "$store" --run "$1-$task" --method "$1" --task "$task" --split published "${@:2}"
    done
}

train_mirror() {
    pretrain untrained --config "$here/region_bags.toml" --set epochs=0
    pretrain mirror --config "$here/region_bags.toml"
}

train_others() { # hours on two cores; the page says what each took
    pretrain tangle --method tangle --set data.tiles=64
    pretrain published --config "$here/published.toml" --variant region_bags --set epochs=20
    supervise linear
    supervise abmil --set patience=5
    supervise porpoise --set runtime.micro_batch=0
    supervise transmil --set model.landmarks=32 --set patience=3 --set epochs=8
}
