# One blob from a registry to another by two curls: SOURCE DESTINATION DIGEST SIZE, the first two URLs of a repository.
# With VERIFY=1, tee and sha256sum stand between them, and the digest is compared when the blob has gone.
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
upload() { # With "Transfer-Encoding:" switched off, an upload from a pipe has the length that we state, and no chunks.
    curl -sS -f -o /dev/null -X PUT -T - -H 'Transfer-Encoding:' -H "Content-Length: $size" -H 'Expect:' \
        -H 'Content-Type: application/octet-stream' "$finish"
}
if [ -n "${VERIFY:-}" ]; then
    { actual=$(curl -sS -f "$source/blobs/$digest" | tee /dev/fd/3 | sha256sum); } 3> >(upload)
    wait $!
    test "sha256:${actual%% *}" = "$digest"
else
    curl -sS -f "$source/blobs/$digest" | upload
fi
