#!/bin/sh
# Starts nginx in the background, listening at an address.
set -e
file=$(mktemp)
sed "s|ADDRESS|$1|; s|PID|$file.pid|" nginx.conf >"$file"
nginx -c "$file"
rm "$file"
