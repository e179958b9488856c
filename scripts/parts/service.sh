# shellcheck shell=bash
# Building, starting and ending a Postrider of our own, with its private Postgres. Sourced, from the checkout's folder.
#
# A service lives in a state folder: postrider.toml, postrider.log, service.pid and the folder postrider/.

# shellcheck source-path=SCRIPTDIR source=processes.sh
. scripts/parts/processes.sh

use_release() { postrider=${CARGO_TARGET_DIR:-$PWD/target}/release/postrider; }
use_debug() { postrider=${CARGO_TARGET_DIR:-$PWD/target}/debug/postrider; }

build_release() {
    use_release
    build --release --bin postrider
}

build_debug() {
    use_debug
    build --bin postrider
}

build() {
    # shellcheck source-path=SCRIPTDIR source=cargo.sh
    . scripts/parts/cargo.sh
    echo "Building Postrider (some minutes the first time)"
    env -u DATABASE_URL SQLX_OFFLINE=true cargo build --quiet --locked "$@" || {
        echo "The build failed: see the compiler's words above. Rust 1.95 or newer is needed: rustc --version" >&2
        return 1
    }
}

service_pid() { pid_of "$1/service.pid" "$postrider"; }

# A free port for the service: $1 or the next one that nobody listens on.
service_port() {
    local port=$1
    while can_connect "$port"; do port=$((port + 1)); done
    echo "$port"
}

is_ready() { curl --silent --fail --max-time 2 --output /dev/null "http://127.0.0.1:$1/health/ready"; }

# Ready, or ended before it was.
is_ready_or_gone() { is_ready "$2" || ! service_pid "$1" >/dev/null; }

# Starts the service of state folder $1 on port $2 (as its postrider.toml says) and waits until it is ready.
start_service() {
    (
        cd "$1" || exit
        # setsid: Ctrl-C in the terminal must not reach it.
        setsid "$postrider" serve </dev/null >>postrider.log 2>&1 &
        echo $! >service.pid
    )
    wait_until 60 is_ready_or_gone "$1" "$2" || true
    is_ready "$2" || {
        tail -n 30 "$1/postrider.log" >&2
        echo "Postrider did not become ready within 60 seconds: its last words are above, all of them in $1/postrider.log" >&2
        return 1
    }
}

# Ends the service of state folder $1, and its Postgres should a killed service have left that behind.
stop_service() {
    local pid data=$1/postrider/postgres
    if pid=$(service_pid "$1"); then end_process "$pid" 60; fi
    pid=$({ head -n 1 "$data/postmaster.pid"; } 2>/dev/null) || return 0
    if [ "$(readlink -- "/proc/$pid/cwd" 2>/dev/null)" = "$data" ]; then
        kill -INT "$pid"
        wait_until 20 is_gone "$pid" || kill -QUIT "$pid"
    fi
}

# Removes what the service of state folder $1 knew; it must be stopped.
forget_service() { rm -rf -- "$1/postrider" "$1/postrider.toml" "$1/postrider.log" "$1/service.pid"; }

# Prints a new operator's key of the service of state folder $1.
create_operator_key() {
    local words
    words=$(cd "$1" && "$postrider" keys create --operator --name "set-up script" 2>&1) || true
    if ! grep -om1 'pr_live_[0-9a-z]*_[A-Za-z0-9_-]*' <<<"$words"; then
        printf '%s\n' "$words" >&2
        echo "postrider keys create --operator printed no key: its words are above" >&2
        return 1
    fi
}
