#!/usr/bin/env bash
# Runs one fuzz target from the corpus in the tree. In: the target and seconds, 0 to replay the
# corpus. Out: executions, and executions a second; a finding fails it and stays in .build-fuzz/found.
set -euo pipefail
target=$1
seconds=$2
corpus=Tests/Fuzz/Corpus/$target
grown=.build-fuzz/corpus/$target
found=.build-fuzz/found
mkdir -p "$grown" "$found"
# Enough for every state of the machines under test, limits are small in here; longer inputs only
# make the fuzzer slower.
limits=(-max_len=1536 -timeout=20 -rss_limit_mb=2048 "-artifact_prefix=$found/$target-")
log=.build-fuzz/$target.log
if [ "$seconds" = 0 ]; then
    # -runs=0 ends when all of the corpus was executed.
    run=(.build-fuzz/fuzz "$target" -runs=0 "${limits[@]}" "$corpus")
else
    run=(.build-fuzz/fuzz "$target" "-max_total_time=$seconds" -print_final_stats=1 "${limits[@]}"
        "$grown" "$corpus")
fi
if ! "${run[@]}" >"$log" 2>&1; then
    grep -v '^#' "$log" | tail -n 60
    echo "$target: FAILED, the input is in $found, all that was said in $log"
    exit 1
fi
echo "$target: $(grep '^Done\|DONE' "$log" | tail -n 1)"
