# shellcheck shell=bash disable=SC2154
# Exim of the private mail world: a relay behind the relay, for its bounces are not Postfix's. Sourced by ../world and
# ../install-packages.
#
# Debian's Exim and Postfix exclude each other as packages, since each wants to be the machine's mail system. So Exim's package
# is unpacked into a folder of ours and run from there; only the libraries it needs are installed, and the account that it
# is compiled for is made.

readonly exim_account=Debian-exim

exim_folder() { STATE_FOLDER_TOLD=yes state_folder "$root" exim; }

exim_program() { echo "$(exim_folder)/usr/sbin/exim4"; }

# The libraries that Exim's package names; nothing while apt has no package lists.
exim_libraries() { apt-cache depends --no-recommends exim4-daemon-light 2>/dev/null | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p'; }

has_exim() {
    local program
    program=$(exim_program)
    id "$exim_account" >/dev/null 2>&1 && [ -x "$program" ] && "$program" -C /dev/null -bV >/dev/null 2>&1
}

# Unpacks the package and makes its account, as its own installation would. As root.
unpack_exim() {
    local folder
    folder=$(exim_folder)
    id "$exim_account" >/dev/null 2>&1 ||
        useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$exim_account"
    (
        cd "$folder" || exit
        rm -rf -- ./*
        apt-get -qq -o APT::Sandbox::User=root download exim4-daemon-light </dev/null
        dpkg -x exim4-daemon-light_*.deb .
        rm -f -- exim4-daemon-light_*.deb
        # It is only ever started by root, and delivers to no mailbox: nothing needs it to be more.
        chmod 755 usr/sbin/exim4
    )
}

# C: takes mail for exim.test from A, is refused by B, and returns what it has to say to A.
write_exim() {
    local folder=$world/exim
    mkdir -p -- "$folder/spool" "$folder/log"
    chown "$exim_account:" -- "$folder" "$folder/spool" "$folder/log"
    cat >"$folder/exim.conf" <<CONF
primary_hostname = mx.exim.test
exim_path = $(exim_program)
spool_directory = $folder/spool
pid_file_path = $folder/pid
log_file_path = $folder/log/%s
local_interfaces = 127.0.0.1
daemon_smtp_ports = $exim_port
disable_ipv6 = true
keep_environment =
acl_smtp_rcpt = take
acl_smtp_data = take
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
smtp_accept_max_per_connection = 100000
smtp_accept_queue_per_connection = 0
queue_run_max = 50
remote_max_parallel = 4
delay_warning =
message_size_limit = 25M

begin acl
take:
  accept

begin routers
back:
  driver = manualroute
  domains = bounces.test : *.bounces.test
  transport = to_relay
  route_list = * 127.0.0.1 byname
  self = send
onward:
  driver = manualroute
  transport = to_internet
  route_list = * 127.0.0.1 byname
  self = send

begin transports
to_relay:
  driver = smtp
  port = $relay_port
  allow_localhost = true
to_internet:
  driver = smtp
  port = $internet_port
  allow_localhost = true

# Tried again soon, and given up soon.
begin retry
* * F,15s,2s
CONF
}

exim_pid() { pid_of "$world/exim/pid" "$world/exim/exim.conf"; }

start_exim() {
    local program
    program=$(exim_program)
    if ! "$program" -C "$world/exim/exim.conf" -bd -q3s </dev/null >>"$world/log/exim-start.log" 2>&1 9<&-; then
        cat "$world/log/exim-start.log" >&2
        return 1
    fi
}

stop_exim() {
    local pid
    if pid=$(exim_pid); then end_process "$pid" 10; fi
}
