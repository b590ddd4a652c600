#!/usr/bin/env bash
# Measures the results in the manual and writes its page, src/manual/results.md.
#
#   tests/results/measure.sh                 compares ringpoll's engines, about 15 minutes
#   tests/results/measure.sh --competitors   compares other servers with them, about 10 minutes
#   tests/results/measure.sh --page          only writes the page, from the result files
#
# `--budget TIME` at the end changes the time limit of each comparison. Stop other programs first,
# and commit: the page names the commit.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/../.."
export LC_ALL=C
results=tests/results
competitors=$results/competitors
cargo build --release --locked --bin ringpoll
export PATH="$PWD/target/release:$PATH"

measure() {
  local file=$results/$1.json
  ringpoll compare --config none "${@:2}" --json "$file"
  ringpoll report "$file" --compact "$file"
}

measure_engines() {
  measure default "$@"
  measure large --load large "$@"
  measure pipelined --load pipelined --depth 16 "$@"
  measure ladder_epoll --ladder epoll "$@"
  measure ladder_io_uring --ladder io_uring "$@"
}

measure_competitors() {
  local file
  temporary=$(mktemp -d)
  trap 'rm -r "$temporary"' EXIT
  TMPDIR=$temporary cargo run --release --locked --manifest-path tests/competitors/Cargo.toml -- \
    --ringpoll "$PWD/target/release/ringpoll" --keep "$competitors" "$@"
  for file in "$competitors"/*.json; do
    ringpoll report "$file" --compact "$file"
    # The command lines contain the paths of the programs.
    sed -i "s|$PWD/||g; s|$temporary/||g" "$file"
  done
}

case ${1-} in
  --competitors) measure_competitors "${@:2}" ;;
  --page) ;;
  *) measure_engines "$@" ;;
esac
ringpoll report --markdown src/manual/results.md "$results"/*.json "$competitors"/*.json
