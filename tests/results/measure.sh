#!/usr/bin/env bash
# Measures the results in the manual and writes its page, src/manual/results.md.
#
#   tests/results/measure.sh                 compares ringpoll's engines, about 15 minutes
#   tests/results/measure.sh --disputes      measures the page `disputes`, about 11 minutes
#   tests/results/measure.sh --competitors   compares servers of its own with them, about 10 minutes
#   tests/results/measure.sh --servers       compares servers of other projects, about 8 minutes
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
disputes=$results/disputes
servers=$results/servers
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

# The commands of src/manual/disputes.md.
measure_disputes() {
  measure disputes/echo_server --load rr --message-bytes 512 --budget 28s "$@"
  measure disputes/clients epoll:tuned io_uring:single_shot io_uring:tuned \
    --load rr --sweep connections=40,400 --rate 30000 --budget 28s "$@"
  measure disputes/ping_pong --load rr --sweep depth=1,16 --budget 28s "$@"
  measure disputes/stream --load stream --direction recv --budget 45s "$@"
  for bytes in 8192 16384; do
    measure disputes/buffers_$bytes epoll:tuned io_uring:tuned io_uring:tuned,provided_buffers=0 \
      --load rr --message-bytes $bytes --sweep connections=1,64 --budget 28s "$@"
  done
  measure disputes/buffers_4000_connections \
    epoll:tuned io_uring:tuned io_uring:tuned,provided_buffers=0 --load rr --connections 4000 \
    --sweep message-bytes=8192,16384 --set io_uring.completion_queue_entries=16384 \
    --set io_uring.provided_buffers=8192 --budget 65s "$@"
  measure disputes/buffers_few io_uring:tuned io_uring:tuned,provided_buffers=64 \
    --load rr --message-bytes 16384 --sweep connections=1,16 --budget 28s "$@"
  measure disputes/io_wq io_uring:tuned io_uring:tuned,io_uring.shutdown=ring --load churn \
    --budget 28s "$@"
  measure disputes/batch epoll:tuned epoll:tuned,events_per_wait=32 io_uring:tuned \
    --load rr --connections 1000 --budget 40s "$@"
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

# Needs nginx, lighttpd, caddy, haproxy, node, uvicorn and redis-server. The servers have one
# thread each, except caddy, whose runtime has several.
measure_servers() {
  local engines=(epoll:tuned io_uring:tuned) file
  measure servers/native "${engines[@]}" --arms "$servers/native.toml" \
    --load churn,keep-alive --budget 180s "$@"
  # http.server has a backlog of 5.
  measure servers/interpreted epoll:tuned --arms "$servers/interpreted.toml" \
    --load churn,keep-alive --connections 4 --budget 120s "$@"
  measure servers/redis "${engines[@]}" 'command:redis-server --port {port} --save ""' \
    --load rr --message 'PING\r\n' --sweep depth=1,16 --budget 45s "$@"
  for file in "$servers"/*.json; do
    sed -i "s|$PWD/||g" "$file"
  done
}

case ${1-} in
  --servers) measure_servers "${@:2}" ;;
  --disputes) measure_disputes "${@:2}" ;;
  --competitors) measure_competitors "${@:2}" ;;
  --page) ;;
  *) measure_engines "$@" ;;
esac
ringpoll report --markdown src/manual/results.md "$results"/*.json "$disputes"/*.json \
  "$competitors"/*.json "$servers"/*.json
