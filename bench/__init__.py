"""The benchmark: ehlo and its peers, side by side in one run, each as a process of its own.

    python -m bench --quick                      about a minute
    make bench                                   all of it, into docs/performance.md and docs/performance/
    python -m bench --list                       the names for --workload and --server

    workloads.py  what is measured, as a table          goals.py    the figures to reach, as a table
    phases.py     how each kind of workload is done     measure.py  CPU and memory from /proc, percentiles
    load.py       the client: every dialogue we drive   placement.py  on which CPUs client and server run
    probe.py      a second client, watching latency     results.py  all figures of a run, to and from JSON
    peers.py      who is measured, how to start them    report.py   the page of Markdown
    servers/      a small script for each of them       plot.py     PNG and SVG, by the peers' Python
    install.py    fetches them into bench/.peers        run.py      rounds, interleaved A B C A B C

Linux only: figures come from /proc. All traffic stays on the loopback interface.
"""
