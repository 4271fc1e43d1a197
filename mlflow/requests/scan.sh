#!/bin/sh
# Score a DICOM, NIfTI or picture file:  scan.sh FILE [URL]    MAP=true asks for the map too.
set -eu
url=${2:-http://127.0.0.1:5001}
printf '{"dataframe_records": [{"scan": "%s"}], "params": {"map": %s}}' \
    "$(base64 <"$1" | tr -d '\n')" "${MAP:-false}" |
    curl --silent --show-error --fail-with-body --data-binary @- \
        --header 'Content-Type: application/json' "$url/invocations"
echo
