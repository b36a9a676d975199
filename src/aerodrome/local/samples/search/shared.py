"""What the DAGs of search share. The team payments has a module of the same name, and neither sees the other's."""

TEAM = "search"


def words(text):
    return sorted(set(text.lower().split()))
