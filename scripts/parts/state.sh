# shellcheck shell=bash
# Where state goes: var/ in the checkout, or a folder under /var/tmp. Sourced.
#
# Postfix, Dovecot and a Postgres started by root run as their own users, so every parent of their state must let
# others through (/root does not), and a unix socket's path holds 107 bytes at most.

# The longest path of a socket below a state folder ("demo/world/dovecot/run/…") fits in this many bytes.
readonly state_tail_bytes=64

# Is every folder from / to $1 open (o+x) to the daemons' users?
can_others_reach() {
    local folder mode
    folder=$(readlink -m -- "$1")
    while :; do
        if [ -e "$folder" ]; then
            mode=$(stat -c %a -- "$folder")
            (((8#$mode & 1) == 1)) || return 1
        fi
        [ "$folder" != / ] || return 0
        folder=$(dirname -- "$folder")
    done
}

# Why state can't live at $1; empty if it can.
state_fault() {
    local bytes
    bytes=$(printf %s "$1" | wc -c)
    if ((bytes + state_tail_bytes > 107)); then
        echo "its path is too long for a unix socket"
    elif [[ "$1" =~ [^A-Za-z0-9/._+-] ]]; then
        echo "its path has characters that configuration files of the daemons would need quoted"
    elif ! can_others_reach "$1"; then
        echo "the daemons' users can't reach it (a parent folder is closed to others)"
    fi
}

# Makes sure that $1 is a real folder of ours, so that nobody else on the machine prepared it in /var/tmp.
make_state_base() {
    local owner=${SUDO_UID:-$(id -u)}
    [ -d "$1" ] || (umask 022 && mkdir -- "$1" && chown "$owner" -- "$1")
    if [ -L "$1" ] || { [ "$(stat -c %u -- "$1")" != "$owner" ] && [ "$(stat -c %u -- "$1")" != 0 ]; }; then
        echo "$1 belongs to somebody else: remove it, then try again" >&2
        return 1
    fi
}

# Prints the state folder called $2 of the checkout $1 and makes it. On stderr says so when it is outside the checkout,
# unless STATE_FOLDER_TOLD is set: a script that calls others says it once.
state_folder() {
    local base=$1/var fault
    fault=$(state_fault "$base")
    if [ -n "$fault" ]; then
        base=/var/tmp/postrider-$(printf %s "$1" | sha256sum | cut -c1-12)
        [ -n "${STATE_FOLDER_TOLD:-}" ] || echo "State goes to $base and not to $1/var: $fault." >&2
    fi
    make_state_base "$base"
    (umask 022 && mkdir -p -- "$base/$2")
    printf '%s\n' "$base/$2"
}
