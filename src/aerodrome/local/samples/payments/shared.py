"""What the DAGs of payments share. The team search has a module of the same name, and neither sees the other's."""

TEAM = "payments"


def total(amounts):
    return sum(amounts)
