"""The asyncio shell: the only part of ehlo that touches a transport, a socket or a clock.

connection   one client: octets to framer, replies to transport, waiting, TLS
stepper      who runs a connection's coroutine: its task, or the transport's callback
timer        deadlines that cost nothing to move
tls          contexts, and what a session may know of its TLS
serve        listening sockets, the set of connections, stopping
watchdog     notices from outside that the event loop is blocked, and names the line
client       the other side: a client for relaying
"""
