#!/usr/bin/env bash
# The main job on an embedded cohort: made, tiled, joined, selected, trained, reported. Run by `make demo`.
set -euo pipefail
folder=${1:?usage: demo.sh FOLDER}
store=$folder/cohort.zarr

step() { printf '\n\033[1m$ %s\033[0m\n' "$*" >&2; "$@"; }

[ -f "$folder/truth.json" ] || step mirror-data demo "$folder"
step mirror-data tile "$folder/slides" --store "$store"
step mirror-data expression "$folder/expression.tsv.gz" --store "$store" --overwrite
step mirror-data outcomes "$folder/clinical.csv" --store "$store" --overwrite
step mirror-data genes --store "$store" --target subtype --cancer-genes "$folder/cancer_genes.csv" --overwrite
step mirror-model train --store "$store" --method mirror --fold all --run mirror --config recipes/demo.toml --overwrite
step mirror-eval report --store "$store" --run mirror --out "$folder/report.html"
