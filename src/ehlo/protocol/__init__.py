"""The protocol without I/O: octets in, octets out.

Nothing in here imports asyncio, socket, ssl or time, so all of it can be tested, fuzzed and read without a network.

    framing      what do the next octets mean: a command line, a SASL answer, mail data, a chunk?
    data         where mail data ends, and transparency
    commands     the table of verbs
    replies      a reply, and a hook's status made into one
    grammar      ABNF and patterns
    address      paths and mailboxes
    parameters   MAIL and RCPT parameters as typed values
    xtext        the encoding of RFC 3461 and RFC 6533
    client       the other side: replies in, commands and mail data out
"""
