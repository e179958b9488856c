# shellcheck shell=bash
# Waiting for daemons and ending exactly the ones that are meant. Sourced.

# Waits until a command succeeds, at most $1 seconds.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

is_gone() { ! kill -0 "$1" 2>/dev/null || [ "$(process_state "$1")" = Z ]; }

# The state letter of a process ("Z" is a zombie that only waits for its parent); empty when there is none.
process_state() { sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null || true; }

can_connect() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints the pid in file $1 if that process lives and its command line has $2 in it (a pid may be another's by now).
pid_of() {
    local pid
    pid=$({ tr -dc 0-9 <"$1"; } 2>/dev/null) || return 1
    [ -n "$pid" ] && { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "$2" && ! is_gone "$pid" && echo "$pid"
}

# Prints the pids of the processes whose working folder is $1 (all of a Postfix instance stand in its queue folder).
pids_in() {
    local link
    for link in /proc/[0-9]*/cwd; do
        if [ "$(readlink -- "$link" 2>/dev/null)" = "$1" ]; then basename "$(dirname -- "$link")"; fi
    done
}

# Ends a process: TERM, and KILL if it is still there after $2 seconds.
end_process() {
    kill -TERM "$1" 2>/dev/null || return 0
    wait_until "$2" is_gone "$1" || kill -KILL "$1" 2>/dev/null || true
}

# Prints $1 distinct loopback ports that nobody listens on, below the range from which the kernel hands out its own.
free_ports() {
    /usr/bin/python3 -I - "$1" <<'PYTHON'
import random
import socket
import sys

held = []
while len(held) < int(sys.argv[1]):
    candidate = socket.socket()
    try:
        candidate.bind(("127.0.0.1", random.randrange(20000, 32000)))
        held.append(candidate)
    except OSError:
        candidate.close()
for candidate in held:
    print(candidate.getsockname()[1])
PYTHON
}
