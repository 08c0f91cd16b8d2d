#!/usr/bin/env bash
# Runs a command beside a PostgreSQL server of its own, whose URL is in SAMKIT_TEST_POSTGRES:
#
#     tools/with_postgres.sh make test
#     tools/with_postgres.sh bash
#
# The server lives in a temporary folder, is reached through a socket in it, and ends with the
# command. It needs Debian's package `postgresql`, or initdb and pg_ctl on the PATH.
set -euo pipefail

if [ $# -eq 0 ]; then
    echo "usage: $0 COMMAND..." >&2
    exit 2
fi
for folder in /usr/lib/postgresql/*/bin; do PATH=$PATH:$folder; done
if ! command -v initdb >/dev/null || ! command -v pg_ctl >/dev/null; then
    echo "$0: PostgreSQL's initdb and pg_ctl are not installed" >&2
    exit 2
fi
# initdb refuses to be root.
as_owner=(env)
if [ "$(id -u)" -eq 0 ]; then as_owner=(runuser -u postgres --); fi

# Below /tmp, since the path of a socket has at most 107 characters.
folder=$(mktemp -d /tmp/samkit-postgres.XXXXXX)
stop() {
    (cd / && "${as_owner[@]}" pg_ctl stop -s -D "$folder/data" -m immediate) || true
    rm -rf "$folder"
}
trap stop EXIT
if [ "$(id -u)" -eq 0 ]; then chown postgres "$folder"; fi
# Trust: the folder lets nobody else in. Nothing has to outlive a crash of the machine.
(
    cd /
    "${as_owner[@]}" initdb -D "$folder/data" -U samkit -A trust -E UTF8 --no-locale -N >/dev/null
    "${as_owner[@]}" pg_ctl start -s -w -D "$folder/data" -l "$folder/log" \
        -o "-c listen_addresses= -c fsync=off -k $folder"
) || { cat "$folder/log" >&2 2>/dev/null || true; exit 1; }

export SAMKIT_TEST_POSTGRES="postgresql://samkit@/postgres?host=$folder"
"$@"
