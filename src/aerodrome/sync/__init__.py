"""Git repositories to snapshots in the store: one process for all teams, the ``git`` program underneath.

::

    service    when: each team at its own pace, few at once, nobody delayed by another
    tracker    what: one pass for one team (look, compare, do what is missing)
    mirror     the bare, shallow repository that a team's commits are fetched into
    submodules, lfs   what a commit names but does not hold
    snapshot   a commit's files, checked, as one archive with the same bytes everywhere
    objects    Git's objects, read and verified
    git        how the git program is run: nothing of the machine's or the repository's configuration has an effect
    credentials, github, remote, failures      one noun each
"""
