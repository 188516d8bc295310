"""Fuzzing: octets that nobody sends by accident, and what must hold of ehlo whatever they are.

    python -m fuzz                        every target, ten seconds each
    python -m fuzz --time 600 session     one of them for ten minutes
    python -m fuzz --engine random        without atheris: plain random input, no coverage
    python -m fuzz --replay FILE ...      what FILE breaks; for a session, as a script for tests/dialogues

    targets/     one function of octets for each parser, and two for whole sessions; it returns, or it raises
    oracle.py    what a session must have said, worked out anew from the octets that were sent
    choices.py   octets made into decisions and cuts
    corpus.py    the seeds in corpus/, and the dialogues of the tests
    smtp.dict    words that matter, in libFuzzer's format

    atheris_engine.py   coverage guided, in a process of its own
    random_engine.py    seeds, mutated at random
    script.py           a session's octets as a dialogue script

A crash is kept in ``.fuzz/crashes``.  It is done with when its script is in ``tests/dialogues`` and passes.
"""
