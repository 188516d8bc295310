#!/bin/sh
# OpenSMTPD as a receiver that keeps nothing: its queue drops what it gets, and nobody listens on its next hop. Arguments:
# FOLDER, PORT, and maybe the largest size of a message. Its limit of 100 messages a session is lifted. Needs root, as
# OpenSMTPD does, and no other one running: they would share a control socket.
set -eu
folder=$1
port=$2
mkdir -p "$folder"
cat > "$folder/smtpd.conf" << CONFIGURATION
smtp limit max-mails 1000000
${3:+smtp max-message-size "$3"}
listen on 127.0.0.1 port $port hostname localhost
action "out" relay host smtp://127.0.0.1:9
match from any for any action "out"
CONFIGURATION
exec smtpd -d -B queue=null -f "$folder/smtpd.conf"
