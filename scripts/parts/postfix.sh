# shellcheck shell=bash disable=SC2154
# The two Postfix instances of the private mail world: "relay" (A) and "internet" (B). Sourced by ../world.
#
# What happens to a recipient is told by the start of its local part; ../world lists it. Bounces need two instances:
# A takes the message and B refuses it, so A writes a real notice and delivers it to Dovecot.

# Settings that both instances share; $1 is the instance's folder, $2 its name.
postfix_common() {
    cat <<CONF
compatibility_level = 3.6
queue_directory = $1/spool
data_directory = $1/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = $world/log/$2.log
maillog_file_prefixes = $world
syslog_name = $2
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_bind_address = 127.0.0.1
# Nothing is looked up and nothing leaves loopback.
disable_dns_lookups = yes
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
notify_classes =
biff = no
smtputf8_enable = yes
message_size_limit = 26214400
# No brakes: it is our own load.
default_process_limit = 200
in_flow_delay = 0
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 100000
smtpd_hard_error_limit = 100000
smtpd_junk_command_limit = 100000
smtpd_client_connection_count_limit = 0
smtpd_client_event_limit_exceptions = 127.0.0.0/8
# Short times, so that what is to be given up is given up soon.
minimal_backoff_time = 3s
maximal_backoff_time = 6s
queue_run_delay = 3s
maximal_queue_lifetime = 15s
bounce_queue_lifetime = 15s
delay_warning_time = 0
CONF
}

# The services of master.cf without listeners; nothing is chrooted.
postfix_services() {
    cat <<'CONF'
pickup     unix  n  -  n  60     1  pickup
cleanup    unix  n  -  n  -      0  cleanup
qmgr       unix  n  -  n  300    1  qmgr
tlsmgr     unix  -  -  n  1000?  1  tlsmgr
rewrite    unix  -  -  n  -      -  trivial-rewrite
bounce     unix  -  -  n  -      0  bounce
defer      unix  -  -  n  -      0  bounce
trace      unix  -  -  n  -      0  bounce
verify     unix  -  -  n  -      1  verify
flush      unix  n  -  n  1000?  0  flush
proxymap   unix  -  -  n  -      -  proxymap
proxywrite unix  -  -  n  -      1  proxymap
smtp       unix  -  -  n  -      -  smtp
relay      unix  -  -  n  -      -  smtp
showq      unix  n  -  n  -      -  showq
error      unix  -  -  n  -      -  error
retry      unix  -  -  n  -      -  error
discard    unix  -  -  n  -      -  discard
lmtp       unix  -  -  n  -      -  lmtp
anvil      unix  -  -  n  -      1  anvil
scache     unix  -  -  n  -      1  scache
postlog    unix-dgram n - n -    1  postlogd
CONF
}

make_postfix_folders() {
    mkdir -p -- "$1/etc" "$1/spool" "$1/data"
    chown root -- "$1/spool"
    chown postfix -- "$1/data"
}

# A: the relay that Postrider submits to.
write_relay() {
    local etc=$world/relay/etc
    make_postfix_folders "$world/relay"
    {
        postfix_common "$world/relay" relay
        cat <<CONF
myhostname = relay.test
mydomain = test
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:$internet_port
transport_maps = regexp:$etc/transport
smtp_tls_security_level = none
default_destination_concurrency_limit = 20
# Return paths: bounces.test has one mailbox; NAME.bounces.test has the mailbox NAME.
virtual_alias_maps = regexp:$etc/return_paths
virtual_mailbox_domains = mail.test
virtual_mailbox_maps = static:all
virtual_transport = lmtp:unix:$world/dovecot/run/lmtp
lmtp_destination_recipient_limit = 1
# By recipient, before anything else is asked.
smtpd_restriction_classes = greylist
greylist = check_policy_service unix:$world/greylist/socket
smtpd_recipient_restrictions = check_recipient_access regexp:$etc/recipients
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_tls_security_level = may
smtpd_tls_cert_file = $world/tls/server.pem
smtpd_tls_key_file = $world/tls/server.key
smtpd_sasl_type = dovecot
smtpd_sasl_path = $world/dovecot/run/auth-relay
CONF
    } >"$etc/main.cf"
    {
        # The open door for loopback, and two that want a login: STARTTLS and implicit TLS.
        cat <<CONF
127.0.0.1:$relay_port inet n - n - - smtpd
127.0.0.1:$submission_port inet n - n - - smtpd
  -o syslog_name=relay/submission
  -o mynetworks=
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
127.0.0.1:$submissions_port inet n - n - - smtpd
  -o syslog_name=relay/submissions
  -o mynetworks=
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
CONF
        postfix_services
    } >"$etc/master.cf"
    cat >"$etc/recipients" <<'CONF'
/^no[^@]*@/    550 5.1.1 The email account that you tried to reach does not exist
/^full[^@]*@/  452 4.2.2 The recipient's mailbox is full, please try again later
/^later[^@]*@/ greylist
CONF
    echo "/@exim\.test\$/ smtp:[127.0.0.1]:$exim_port" >"$etc/transport"
    cat >"$etc/return_paths" <<'CONF'
/^.+@bounces\.test$/                bounces@mail.test
/^.+@([a-z0-9-]+)\.bounces\.test$/  $1@mail.test
CONF
}

# B: everybody's mail exchanger.
write_internet() {
    local etc=$world/internet/etc
    make_postfix_folders "$world/internet"
    {
        postfix_common "$world/internet" internet
        cat <<CONF
myhostname = mx.internet.test
mynetworks =
virtual_mailbox_domains = regexp:$etc/domains
virtual_mailbox_maps = static:all
virtual_transport = discard:
transport_maps = regexp:$etc/transport
lmtp_destination_recipient_limit = 1
smtpd_recipient_restrictions = check_recipient_access regexp:$etc/recipients
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = none
CONF
    } >"$etc/main.cf"
    {
        echo "127.0.0.1:$internet_port inet n - n - - smtpd"
        postfix_services
    } >"$etc/master.cf"
    echo '/./ every domain' >"$etc/domains"
    echo "/^reader[^@]*@/ lmtp:unix:$world/dovecot/run/lmtp" >"$etc/transport"
    cat >"$etc/recipients" <<'CONF'
/^gone[^@]*@/ 550 5.1.1 User unknown in virtual mailbox table
/^soft[^@]*@/ 452 4.2.2 Mailbox is over quota
/^big[^@]*@/  552 5.2.2 Mailbox full
/^spam[^@]*@/ 554 5.7.1 Message looks like spam
CONF
}

# All processes of an instance have its queue as their working folder, so a pid that is reused can't be mistaken.
postfix_master() {
    local pid
    pid=$({ tr -dc 0-9 <"$1/spool/pid/master.pid"; } 2>/dev/null) || return 1
    [ -n "$pid" ] && [ "$(readlink -- "/proc/$pid/cwd")" = "$1/spool" ] && echo "$pid"
}

start_postfix() {
    if ! postfix -c "$1/etc" start </dev/null >>"$1/start.log" 2>&1 9<&-; then
        cat "$1/start.log" >&2
        tail -n 20 "$world/log/$(basename "$1").log" >&2 2>/dev/null || true
        return 1
    fi
}

no_pids_in() { [ -z "$(pids_in "$1")" ]; }

stop_postfix() {
    local pid
    if pid=$(postfix_master "$1"); then end_process "$pid" 10; fi
    # The master ends its children; whoever is left after that was stuck.
    if ! wait_until 5 no_pids_in "$1/spool"; then
        for pid in $(pids_in "$1/spool"); do kill -KILL "$pid" 2>/dev/null || true; done
    fi
}
