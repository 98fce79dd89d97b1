#!/usr/bin/env bash
# Start a temporary local PostgreSQL server for one command; its URL is in $STORAGE. For example
#     scripts/with_postgres.sh bash -c 'adapter-tune sweep FILE.yaml --workers 2 --storage "$STORAGE"'
# Needs the PostgreSQL server programs (Debian: postgresql) and pip install 'adapter-tune[postgres]'.
set -euo pipefail
[[ $# -gt 0 ]] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
programs=$(dirname "$(command -v initdb || find /usr/lib/postgresql -name initdb | sort -V | tail -1)")
place=$(mktemp -d)
port=${PGPORT:-54329}
as() { "$@"; }
if [[ $(id -u) == 0 ]]; then # it refuses to run as root
    chown postgres "$place"
    as() { runuser -u postgres -- "$@"; }
fi
trap 'as "$programs/pg_ctl" -D "$place/data" -m immediate stop >/dev/null; rm -rf "$place"' EXIT
cd "$place"
as "$programs/initdb" -D "$place/data" -U tuner --auth=trust >/dev/null
as "$programs/pg_ctl" -D "$place/data" -l "$place/log" -w -o "-p $port -k $place -h 127.0.0.1" start >/dev/null
cd - >/dev/null
STORAGE="postgresql+psycopg2://tuner@127.0.0.1:$port/postgres" "$@"
