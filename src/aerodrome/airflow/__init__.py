"""All that Airflow loads, and all that imports Airflow. Nothing here may import :mod:`aerodrome.sync`.

Modules on a task's path (``bundle``, ``coordinator``, ``logs``, ``worker``) import nothing heavy of their own.
"""
