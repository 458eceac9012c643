#!/usr/bin/env bash
# The main job on an embedded cohort: made, joined, tiled, selected, trained, reported. Run by `make demo`.
set -euo pipefail
folder=${1:?usage: demo.sh FOLDER}
store=$folder/cohort.zarr

step() { printf '\n$ %s\n' "$*" >&2; "$@"; }

[ -f "$folder/truth.json" ] || step mirror-data demo "$folder"
[ -f "$store/patients/zarr.json" ] || step mirror-data outcomes "$folder/clinical.csv" --store "$store"
[ -f "$store/rna/zarr.json" ] || step mirror-data expression "$folder/expression.tsv.gz" --store "$store"
step mirror-data tile "$folder/slides" --store "$store"
step mirror-data genes --store "$store" --target subtype --cancer-genes "$folder/cancer_genes.csv"
step mirror-model train --store "$store" --method mirror --run mirror --genes rfe --config recipes/demo.toml
step mirror-model train --store "$store" --method mirror --run untrained --genes rfe --config recipes/demo.toml --set epochs=0
step mirror-eval report --store "$store" --run mirror --slides "$folder/slides" --out "$folder/report.html"
