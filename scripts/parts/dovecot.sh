# shellcheck shell=bash disable=SC2154
# Dovecot of the private mail world: LMTP for delivery, IMAP and POP3 for reading, and SASL for the relay. Sourced by ../world.
#
# Any user name exists and has the same password; the mailbox is the local part of the address, whatever its domain.

# Dovecot 2.4 has another configuration language than 2.3.
write_dovecot() {
    local version
    mkdir -p -- "$world/dovecot/run" "$world/dovecot/state" "$world/mail"
    chown "$mail_user:" -- "$world/mail"
    write_away_script
    version=$(dovecot --version | cut -d' ' -f1)
    case "$version" in
        2.[0-3].*) dovecot_settings_2_3 ;;
        *) dovecot_settings_2_4 "$version" ;;
    esac >"$world/dovecot/dovecot.conf"
    dovecot_services >>"$world/dovecot/dovecot.conf"
    sievec -c "$world/dovecot/dovecot.conf" "$world/dovecot/sieve/away.sieve"
}

# Pigeonhole doesn't answer what says that it is for many (RFC 5230 section 4.6); others do, so here a message no longer says it.
write_away_script() {
    mkdir -p -- "$world/dovecot/sieve"
    cat >"$world/dovecot/sieve/away.sieve" <<'SIEVE'
require ["envelope", "vacation", "editheader"];
if envelope :localpart :matches "to" "readeraway*" {
    deleteheader "Precedence";
    deleteheader "List-Unsubscribe";
    deleteheader "List-Unsubscribe-Post";
    vacation :days 1 :subject "Out of office" "I am away until Monday and read no mail.";
}
SIEVE
}

dovecot_settings_2_3() {
    cat <<CONF
ssl = yes
ssl_cert = <$world/tls/server.pem
ssl_key = <$world/tls/server.key
disable_plaintext_auth = no
auth_username_format = %Ln
mail_location = maildir:$world/mail/%u
passdb {
  driver = static
  args = password=$password
}
userdb {
  driver = static
  args = uid=$mail_user gid=$mail_user home=$world/mail/%u allow_all_users=yes
}
protocol lmtp {
  auth_username_format = %Ln
  mail_plugins = sieve
}
plugin {
  sieve_before = $world/dovecot/sieve/away.sieve
  sieve_extensions = +editheader
}
CONF
}

dovecot_settings_2_4() {
    # The oldest 2.4 that knows these settings; a newer one keeps their meaning.
    cat <<CONF
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
ssl = yes
ssl_server_cert_file = $world/tls/server.pem
ssl_server_key_file = $world/tls/server.key
auth_allow_cleartext = yes
auth_username_format = %{user | username | lower}
mail_driver = maildir
mail_path = $world/mail/%{user | username | lower}
passdb static {
  password = $password
}
userdb static {
  allow_all_users = yes
  fields {
    uid = $mail_user
    gid = $mail_user
    home = $world/mail/%{user | username | lower}
  }
}
protocol lmtp {
  mail_plugins {
    sieve = yes
  }
}
sieve_script away {
  type = before
  path = $world/dovecot/sieve/away.sieve
}
sieve_extensions {
  editheader = yes
}
CONF
}

# What both languages say alike. (In 2.4 the dovecot_*_version lines must come first, hence after them.)
dovecot_services() {
    cat <<CONF
base_dir = $world/dovecot/run
state_dir = $world/dovecot/state
log_path = $world/log/dovecot.log
protocols = imap pop3 lmtp
listen = 127.0.0.1
default_login_user = dovenull
default_internal_user = dovecot
first_valid_uid = 1
mail_uid = $mail_user
mail_gid = $mail_user
mail_fsync = never
mail_max_userip_connections = 1000
recipient_delimiter = +
# By which answers leave.
submission_host = 127.0.0.1:$relay_port
postmaster_address = postmaster@mail.test
hostname = imap.test
auth_mechanisms = plain login
auth_failure_delay = 0
service imap-login {
  inet_listener imap {
    port = $imap_port
  }
  inet_listener imaps {
    port = $imaps_port
    ssl = yes
  }
}
service pop3-login {
  inet_listener pop3 {
    port = $pop3_port
  }
  inet_listener pop3s {
    port = $pop3s_port
    ssl = yes
  }
}
service lmtp {
  unix_listener lmtp {
    mode = 0666
  }
}
service auth {
  unix_listener auth-relay {
    mode = 0666
  }
}
CONF
}

dovecot_master() { pid_of "$world/dovecot/run/master.pid" "$world/dovecot/dovecot.conf"; }

start_dovecot() {
    if ! dovecot -c "$world/dovecot/dovecot.conf" </dev/null >>"$world/dovecot/start.log" 2>&1 9<&-; then
        cat "$world/dovecot/start.log" >&2
        tail -n 20 "$world/log/dovecot.log" >&2 2>/dev/null || true
        return 1
    fi
}

stop_dovecot() {
    local pid
    if pid=$(dovecot_master); then end_process "$pid" 10; fi
}
