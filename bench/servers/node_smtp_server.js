// Node's smtp-server as a user would run it: limits and timeouts at their defaults, no login asked for, one hook.
//
// Arguments are KEY=VALUE, all optional: size=OCTETS, chain=FILE key=FILE. Prints its port. NODE_PATH names the folder of packages.
// Reverse lookup is off because it would ask the name service about every connection.
'use strict';

const fs = require('fs');
const { SMTPServer } = require('smtp-server');

const options = Object.fromEntries(process.argv.slice(2).map((argument) => argument.split('=', 2)));

const settings = {
    name: 'localhost',
    authOptional: true,
    disableReverseLookup: true,
    onData(stream, session, callback) {
        stream.on('data', () => {});
        stream.on('end', () => callback(null, 'OK'));
    },
};
if (options.size) {
    settings.size = Number(options.size);
}
if (options.chain) {
    settings.cert = fs.readFileSync(options.chain);
    settings.key = fs.readFileSync(options.key);
} else {
    settings.disabledCommands = ['STARTTLS'];
}

const server = new SMTPServer(settings);
server.on('error', () => {}); // a client that goes without QUIT is no reason to end
server.listen(0, '127.0.0.1', () => console.log(server.server.address().port));
