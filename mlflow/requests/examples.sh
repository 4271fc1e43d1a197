#!/bin/sh
# Send every example of this folder:  examples.sh [URL]
set -eu
url=${1:-http://127.0.0.1:5001}
for request in "$(dirname "$0")"/*.json; do
    printf '%s  ' "$(basename "$request")"
    curl --silent --show-error --fail-with-body --data-binary "@$request" \
        --header 'Content-Type: application/json' "$url/invocations"
    echo
done
