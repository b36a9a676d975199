"""The platform on one machine, with nothing to install: what ``aerodrome up`` and ``aerodrome demo`` run.

::

    state, keys, ports, sizing     what a machine keeps for an installation
    identity, postgres             the database, from a wheel
    environment                    what each component gets to know, secrets above all
    kinship                        what holds the processes together, so that none is left behind
    processes, platform            components and the order of their lives
    supervisor, guard, control     the process that runs them, the one above it, and how others talk to it
    overview                       what status shows
    starter, repository, demo      what init and demo write and tell
"""
