#!/usr/bin/env bash
# What a second process on one store is worth: independent trainings, one job a process, one process and two.
# usage: benches/share.sh [TRAININGS] [ROUNDS]      prints wall seconds of each round, and the median ratio
set -euo pipefail
bin=${CORESIFT:-target/release/coresift}
trainings=${1:-16}
rounds=${2:-5}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/p.toml" <<T
[stage.data]
use  = "load.synthetic"
with = { n = 2000, test = 200, d = 64, classes = 10 }
seed = 0
[stage.student]
use  = "train"
from = { data = "data" }
with = { model = "mlp", epochs = 40, batch = 64 }
[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }
[matrix]
"student.seed" = [$(seq -s, 0 $((trainings - 1)))]
T
# One thread a process, so that the second one finds a core.
run() { "$bin" run "$dir/p.toml" --store "$1" --device cpu --jobs 1 --threads 1 --quiet --no-table; }
wall() { local t0=$EPOCHREALTIME; "$@"; awk -v a="$t0" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'; }
two() { run "$1" & run "$1"; wait $!; }
for round in $(seq "$rounds"); do
  one=$(wall run "$dir/one$round")
  both=$(wall two "$dir/two$round")
  made=$("$bin" --json cache ls --store "$dir/two$round" | grep -o '"key"' | wc -l)
  awk -v r="$round" -v o="$one" -v b="$both" -v m="$made" \
    'BEGIN { printf "round %d: one %.2f s, two %.2f s, ratio %.2f, %d results\n", r, o, b, o / b, m }'
  awk -v o="$one" -v b="$both" 'BEGIN { print o / b }' >> "$dir/ratios"
done
sort -n "$dir/ratios" | awk '{ all[NR] = $1 } END { printf "median ratio %.2f\n", all[int((NR + 1) / 2)] }'
