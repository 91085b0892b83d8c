#!/usr/bin/env bash
# What the engine itself costs: a matrix of N stages over synthetic data and cheap stages.
# usage: benches/engine.sh [STAGES…]      prints CPU seconds and peak memory of plan, cold run, all-hit run,
# and beside them of ninja with as many edges and nothing to do, where it is on the PATH (or NINJA names it)
set -euo pipefail
bin=${CORESIFT:-target/release/coresift}
sizes=("${@:-5000}")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
printf '%8s  %-18s %8s %8s %8s\n' stages command 'cpu s' 'wall s' 'MiB'
for n in "${sizes[@]}"; do
  # Two stages a cell, and the data they share.
  cells=$(((n - 1) / 2))
  python3 - "$cells" > "$dir/p$n.toml" <<'P'
import sys
cells = int(sys.argv[1])
print('''[stage.data]
use  = "load.synthetic"
with = { n = 50, test = 10, d = 2, classes = 2 }
[stage.hardness]
use  = "score.random"
from = { data = "data" }
[stage.subset]
use  = "select.top"
from = { scores = "hardness" }
with = { keep = 0.5 }
[matrix]
"hardness.seed" = [''' + ', '.join(map(str, range(cells))) + ']')
P
  for step in 'plan,empty store' 'run,cold' 'plan,all hits' 'run,all hits'; do
    command=${step%,*}
    /usr/bin/time -f '%U %S %e %M' -o "$dir/time" \
      "$bin" "$command" "$dir/p$n.toml" --store "$dir/s$n" --quiet > /dev/null
    read -r user sys wall kib < "$dir/time"
    awk -v n="$n" -v c="$command, ${step#*,}" -v u="$user" -v s="$sys" -v w="$wall" -v k="$kib" \
      'BEGIN { printf "%8d  %-18s %8.3f %8.3f %8.1f\n", n, c, u + s, w, k / 1024 }'
  done
  ninja=${NINJA:-$(command -v ninja || true)}
  [ -n "$ninja" ] || continue
  mkdir "$dir/n$n"
  echo x > "$dir/n$n/src"
  {
    printf 'rule copy\n  command = cp $in $out\nbuild data: copy src\n'
    for i in $(seq "$cells"); do printf 'build h%d: copy data\nbuild s%d: copy h%d\n' "$i" "$i" "$i"; done
  } > "$dir/n$n/build.ninja"
  "$ninja" -C "$dir/n$n" > /dev/null
  /usr/bin/time -f '%U %S %e %M' -o "$dir/time" "$ninja" -C "$dir/n$n" > /dev/null
  read -r user sys wall kib < "$dir/time"
  awk -v n="$n" -v u="$user" -v s="$sys" -v w="$wall" -v k="$kib" \
    'BEGIN { printf "%8d  %-18s %8.3f %8.3f %8.1f\n", n, "ninja, no-op", u + s, w, k / 1024 }'
done
