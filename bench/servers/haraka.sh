#!/bin/sh
# Haraka as a receiver that keeps nothing: its defaults, and one plugin that accepts. Arguments: FOLDER (made anew), PORT,
# and maybe the largest size of a message. The plugin answers the reverse lookup too, since Haraka would ask the name
# service about every connection.
set -eu
folder=$1
port=$2
rm -rf "$folder"
haraka -i "$folder" > /dev/null
echo "listen=127.0.0.1:$port" > "$folder/config/smtp.ini"
printf '[main]\nlevel=ERROR\n' > "$folder/config/log.ini"
if [ $# -gt 2 ]; then
    sed -i "s/^;* *bytes=.*/bytes=$3/" "$folder/config/connection.ini"
fi
echo accept > "$folder/config/plugins"
cat > "$folder/plugins/accept.js" << 'PLUGIN'
exports.hook_lookup_rdns = (next) => next(OK, 'localhost');
exports.hook_rcpt = (next) => next(OK);
exports.hook_queue = (next) => next(OK);
PLUGIN
exec haraka -c "$folder"
