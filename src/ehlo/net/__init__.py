"""The asyncio shell: the only part of ehlo that touches a transport, a socket or a clock.

flow         octets from and to one transport, and where they are held back
waiting      who waits for whom, and whose time runs
connection   one client, built on these two: lines, mail data, TLS, the beginning and the end
gate         a PROXY header, which comes before all that
stepper      who runs a connection's coroutine: its task, or the transport's callback
timer        deadlines that cost nothing to move
tls          contexts, handshakes, and what a session may know of its TLS
serve        listening sockets, the set of connections, stopping
watchdog     notices from outside that the event loop is blocked, and names the line
client       the other side: a client for relaying
"""
