#!/usr/bin/env bash
# Runs the tests with a sanitizer. In: address or thread, and a Python with the foreign tests' packages.
# Out: fails on a failed test and on any report; the reports stay in the build's folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
kind=$1
python=$2
case $kind in
address) build=$PWD/.build-asan ;;
thread) build=$PWD/.build-tsan ;;
*) echo "usage: $0 address|thread PYTHON" >&2; exit 64 ;;
esac
reports=$build/reports
rm -rf "$reports"
mkdir -p "$reports"
export ASAN_OPTIONS="log_path=$reports/address"
export LSAN_OPTIONS="suppressions=$PWD/Tests/Sanitizers/leaks.supp:print_suppressions=0"
export TSAN_OPTIONS="log_path=$reports/thread"
# Swift's own report of a crash would come before the sanitizer's.
export SWIFT_BACKTRACE=enable=no

flags=(--sanitize="$kind" --scratch-path "$build")
status=0
swift build --build-tests "${flags[@]}"
# There is no XCTest among the tests, and its runner leaks. One test at a time: in debug builds with
# a sanitizer those that only compute would keep the others from what they wait for.
run=(swift test --skip-build --disable-xctest --no-parallel "${flags[@]}")
# Apart, since libpq blocks the few threads on which others would wait for their turn.
blocking='^(IngestTests|PostgresTests)[.]'
"${run[@]}" --skip "$blocking" || status=1
"${run[@]}" --filter "$blocking" || status=1
# The programs under foreign clients, whose servers must also end without a leak. Not with the thread
# sanitizer, which makes them too slow for what these tests wait for.
if [ "$kind" = address ]; then
    bin=$(swift build "${flags[@]}" --show-bin-path)
    CONTACTSD=$bin/contactsd CONTACTS=$bin/contacts INTEROPSERVER=$bin/interopserver \
        "$python" -m pytest -q -m 'not memory' Tests/Foreign || status=1
fi
found=$(find "$reports" -type f -size +0)
if [ -n "$found" ]; then
    for file in $found; do head -n 40 "$file"; done
    echo "the $kind sanitizer reports:"
    echo "$found"
    exit 1
fi
[ "$status" = 0 ] && echo "no report of the $kind sanitizer"
exit "$status"
