"""What the DAGs share."""


def greeting(name):
    return f"Hello, {name}!"
