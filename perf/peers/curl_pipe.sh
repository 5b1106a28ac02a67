# One blob from a registry to another by two curls: SOURCE DESTINATION DIGEST SIZE, the first two URLs of a repository.
set -euo pipefail

source=$1 destination=$2 digest=$3 size=$4
begin=$(curl -sS -f -X POST -H 'Content-Length: 0' -o /dev/null -w '%header{location}' "$destination/blobs/uploads/")
case $begin in
/*) begin=${destination%%/v2/*}$begin ;;
esac
case $begin in
*\?*) finish="$begin&digest=$digest" ;;
*) finish="$begin?digest=$digest" ;;
esac
# With "Transfer-Encoding:" switched off, an upload from a pipe has the length that we state, and no chunks.
curl -sS -f "$source/blobs/$digest" |
    curl -sS -f -o /dev/null -X PUT -T - -H 'Transfer-Encoding:' -H "Content-Length: $size" -H 'Expect:' \
        -H 'Content-Type: application/octet-stream' "$finish"
